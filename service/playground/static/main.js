/*
 * The playground: chooses a package and shows the panels that suit it, each in a tab.
 *
 * A panel is a module in panels/ with its entry in PANELS below. It exports
 *   id        its name in the address
 *   title     its tab
 *   uses      names of the controls that it follows: "seed", "label", "truncation", "codes", "condition"
 *   suits(pkg)                 whether it shows packages like this one (packages.js says what `pkg` has)
 *   mount(container, context)  shows it in an empty element, and answers a function that takes it away
 * What it gets as `context`:
 *   api       calls of the service (api.js): api.post("generate", {json, signal}), api.get(path, {signal}), api.request
 *   pkg       the package
 *   options   store of what the controls say: {seed, label, truncation, condition, codes}; null is "from the seed".
 *             packages.js `wanted(pkg, options.get())` makes of it the fields of a request
 *   kept      store of the kept samples, each as {seed, label, truncation, condition, codes}: what packages.js
 *             `drawn(pkg, sample, options.get())` makes of a sample of an answer
 *   keep(sample)  keeps a sample, or no longer; answers whether it is kept now
 *   status    status.say(words) for screen readers, status.fail(error) in a line at the top; pauses and retries are
 *             shown by themselves
 *   signal    aborted when the panel is taken away: give it to every call
 *   open(id)  goes to another panel
 * A store has get(), set(value) and subscribe(listener), which answers a function that ends it.
 */

import { createApi } from "./api.js";
import { mountControls, newSeed } from "./controls.js";
import { ICONS, copy, h, icon, percent } from "./dom.js";
import { mountKept } from "./kept.js";
import { createKeys } from "./key.js";
import { haveLoaded, listPackages, loadPackage } from "./packages.js";
import * as items from "./panels/items.js";
import * as score from "./panels/score.js";
import * as select from "./panels/select.js";
import * as vectors from "./panels/vectors.js";
import * as walk from "./panels/walk.js";
import * as wall from "./panels/wall.js";
import { NO_OPTIONS, memory, readAddress, store, toggle, writeAddress, writeKept } from "./state.js";
import { createStatus } from "./status.js";

const PANELS = [wall, vectors, items, walk, score, select];
const LOOK_AGAIN_MS = 2_000; // while no package is ready
const SAID_MS = 2_000; // how long a button says what it did
const NARROW = matchMedia("(max-width: 820px)"); // as in style.css

const place = (id) => document.getElementById(id);
const status = createStatus(place("banner"), place("live"));
const api = createApi(status.waiting, createKeys(place("ask")));
let shown = null; // what is on the page: {pkg, options, kept, view, unmount…}
let opening = new AbortController();

/** Show what an address says: its package, which is loaded if it is out of memory, or the first that is ready. */
async function open({ name, version, view, options, kept }) {
  opening.abort();
  opening = new AbortController();
  status.fail(null);
  if (shown && shown.pkg.name === name && shown.pkg.version === version) {
    shown.take({ view, options, kept: kept ?? [] });
    return;
  }
  const { signal } = opening;
  try {
    const { all, chosen } = await choose(name, version, signal);
    const pkg = await loadPackage(api, chosen.name, chosen.version, signal);
    if (signal.aborted) return;
    if (name && (name !== pkg.name || (version && version !== pkg.version))) {
      status.fail(new Error(`${name} ${version ?? ""} is not served; this is ${pkg.name} ${pkg.version}.`));
    }
    const isMeant = !name || name === pkg.name; // else controls and kept samples are of another package
    show(all, pkg, { view, options: isMeant ? options : { ...NO_OPTIONS, seed: options.seed }, kept: isMeant ? kept : null });
  } catch (error) {
    if (!signal.aborted) offerAgain(error);
  }
}

async function choose(name, version, signal) {
  for (;;) {
    const all = await listPackages(api, signal);
    const served = all.filter((each) => each.ready || each.onDemand);
    const isAsked = (each) => each.name === name && (!version || each.version === version);
    const loading = served.some(isAsked) ? undefined : all.find((each) => isAsked(each) && each.state === "loading");
    const chosen = served.find(isAsked) ?? served.find((each) => each.name === name) ?? served.find((each) => each.ready) ?? served[0];
    if (chosen?.ready && !loading) return { all, chosen };
    if (chosen && !loading) {
      await haveLoaded(api, chosen, signal);
      continue; // another one may have left the memory for it
    }
    if (loading) tell(notReady([loading]));
    else tell(all.length ? notReady(all) : "The service has no packages yet. Put one into its models folder; it appears here.");
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    if (signal.aborted) throw signal.reason;
  }
}

const notReady = (all) => `Not ready yet: ${all.map((each) => `${each.name} ${each.version} is ${each.state}${each.reason && ` (${each.reason})`}`).join("; ")}.`;

/** Say something in place of a package. */
function tell(words, ...more) {
  shown?.unmount();
  shown = null;
  place("tabs").hidden = true;
  place("about").replaceChildren();
  place("panel").replaceChildren(h("div", { class: "empty" }, h("p", {}, words), ...more));
  status.say(words);
}

function offerAgain(error) {
  const again = h("button", { type: "button", class: "button", onclick: () => open(readAddress(location.hash)) }, "Try again");
  tell(error.message, again);
}

function show(all, pkg, { view, options: chosen, kept: linked }) {
  shown?.unmount();
  const suited = PANELS.filter((panel) => panel.suits(pkg));
  const options = store(chosen);
  const own = memory.readKept(pkg.name);
  const kept = store(linked ?? own);
  // Samples of another person's link are not mixed with those kept here.
  const isOwn = linked === null || linked.map(writeKept).join() === own.map(writeKept).join();
  const controls = mountControls(place("controls"), pkg, options);
  let mounted = null;
  const context = { api, pkg, options, kept, status, keep: (sample) => toggle(kept, sample), open: openView };
  const unmountKept = mountKept(place("tray"), place("details"), {
    ...context,
    walk: suited.includes(walk) ? () => openView(walk.id) : null,
  });

  fillChoice(all, pkg);
  fillAbout(pkg);
  document.title = `${pkg.name} · Ganymede playground`;
  const unsubscribe = [
    options.subscribe(remember),
    kept.subscribe((samples) => {
      if (isOwn) memory.writeKept(pkg.name, samples);
      remember();
    }),
  ];

  function openView(id, push = true) {
    const panel = suited.find((each) => each.id === id) ?? suited[0];
    if (mounted?.panel === panel) return;
    mounted?.leave();
    const leaving = new AbortController();
    const container = place("panel");
    container.replaceChildren();
    container.setAttribute("aria-labelledby", `tab-${panel.id}`);
    controls.show(panel.uses);
    const unmount = panel.mount(container, { ...context, signal: leaving.signal });
    mounted = {
      panel,
      leave() {
        leaving.abort();
        unmount();
      },
    };
    fillTabs(suited, panel, openView);
    remember(push);
  }

  function remember(push) {
    const address = writeAddress({ name: pkg.name, version: pkg.version, view: mounted?.panel.id, options: options.get(), kept: kept.get() });
    if (address !== location.hash) history[push === true ? "pushState" : "replaceState"](null, "", address);
  }

  shown = {
    pkg,
    suited,
    options,
    openView,
    take(said) {
      if (JSON.stringify(said.options) !== JSON.stringify(options.get())) options.set(said.options);
      if (said.kept.map(writeKept).join() !== kept.get().map(writeKept).join()) kept.set(said.kept);
      openView(said.view, false);
    },
    unmount() {
      mounted?.leave();
      unsubscribe.forEach((each) => each());
      unmountKept();
      controls.unmount();
    },
  };
  if (suited.length) openView(view, false);
  else place("panel").replaceChildren(h("div", { class: "empty" }, h("p", {}, `There is no view for packages of ${pkg.kind}s.`)));
}

function fillChoice(all, pkg) {
  const select = place("package");
  const key = (each) => `${each.name} ${each.version}`;
  select.replaceChildren(
    ...all.map((each) => {
      const state = each.ready ? "" : each.onDemand ? " (loaded when chosen)" : ` (${each.state})`;
      return h("option", { value: key(each), disabled: !each.ready && !each.onDemand, selected: key(each) === key(pkg) }, key(each) + state);
    }),
  );
  select.disabled = false;
  select.onchange = () => {
    const [name, version] = select.value.split(" ");
    const address = writeAddress({ name, version, view: null, options: { ...NO_OPTIONS, seed: shown.options.get().seed }, kept: memory.readKept(name) });
    history.pushState(null, "", address);
    open(readAddress(address));
  };
}

// Provenance is whatever wrote the package says.
const number = (value, write) => (Number.isFinite(value) ? write(value) : null);

function fillAbout(pkg) {
  const { sample, page, provenance } = pkg;
  const shape = {
    image: () => `${sample.width} × ${sample.height}, ${sample.channels === 1 ? "grey" : "colour"}`,
    vector: () => `${sample.size} numbers`,
    item: () => `one of ${sample.count} items`,
  }[pkg.kind]();
  const device = page.generator_on_device;
  const generated = provenance.metrics?.images?.generated;
  const facts = [
    ["Samples", shape],
    ["Latent", `${pkg.latent.size} numbers, ${pkg.latent.prior.replaceAll("_", " ")}`],
    ["Objective", provenance.objective],
    ["Trained on", provenance.data?.name],
    ["Samples seen", number(provenance.samples_seen, (count) => count.toLocaleString("en"))],
    ["Fréchet distance", number(generated?.frechet_distance, (distance) => distance.toFixed(2))],
    ["Precision", number(generated?.precision, percent)],
    ["Recall", number(generated?.recall, percent)],
    ["Calibration error", number(page.discriminator?.expected_calibration_error, (error) => error.toFixed(3))],
    ["Runs on", device && `${device.provider}, ${device.precision}`],
    ["Same bytes in any batch", device && (device.reproducible ? "yes" : "no")],
    ["Stack", pkg.stack],
    ["Licence", pkg.license],
  ];
  place("about").replaceChildren(
    h("p", { class: "summary" }, pkg.summary),
    h(
      "details",
      {},
      h("summary", {}, "About this package"),
      h("dl", { class: "facts" }, facts.filter(([, value]) => typeof value === "string" && value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ),
  );
}

function fillTabs(panels, current, openView) {
  const tabs = panels.map((panel) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${panel.id}`,
        class: "tab",
        "aria-selected": String(panel === current),
        "aria-controls": "panel",
        tabindex: panel === current ? "0" : "-1",
        onclick: () => openView(panel.id),
      },
      panel.title,
    ),
  );
  const list = place("tabs");
  const hadFocus = list.contains(document.activeElement);
  list.replaceChildren(...tabs);
  list.hidden = tabs.length < 2;
  list.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    openView(panels[(panels.indexOf(current) + step + panels.length) % panels.length].id);
  };
  if (hadFocus) tabs[panels.indexOf(current)].focus();
}

const SHORTCUTS = [
  ["n", "new seeds"],
  ["1 to 9", "go to a view"],
  ["← → ↑ ↓", "move in the wall; Home and End go to the ends of a row"],
  ["Enter", "keep the sample, or no longer"],
  ["Space", "on the sheet of Score, pen down or up; the arrows move, Ctrl+Z undoes"],
  ["d", "dark or light"],
  ["?", "this list"],
];

function openHelp() {
  const dialog = place("help");
  dialog.replaceChildren(
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: "help-title" }, "Keys"),
      h("button", { type: "button", class: "button quiet square", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close)),
    ),
    h("dl", { class: "keys" }, SHORTCUTS.map(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)])),
    h("label", { class: "check" }, letters, "Use single-key shortcuts"),
  );
  dialog.showModal();
}

// People who speak to their computer press single keys without meaning to.
const letters = h("input", { type: "checkbox", id: "letters", checked: memory.get("letters") !== "off" });
letters.addEventListener("change", () => memory.set("letters", letters.checked ? "on" : "off"));

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  place("theme").replaceChildren(icon(isDark() ? ICONS.sun : ICONS.moon));
  place("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
}

function turnTheme() {
  const theme = isDark() ? "light" : "dark";
  memory.set("theme", theme);
  setTheme(theme);
}

async function copyLink() {
  const copied = await copy(location.href);
  status.say(copied ? "The link to this view is copied." : "The browser does not let this page copy; take the address of the page.");
  place("link").lastChild.textContent = copied ? "Copied" : "Copy the address";
  setTimeout(() => (place("link").lastChild.textContent = "Link"), SAID_MS);
}

/** Look again which packages there are: one may have come while the page was out of sight. */
async function refresh() {
  if (document.hidden || !shown) return;
  try {
    const all = await listPackages(api);
    if (shown) fillChoice(all, shown.pkg);
  } catch {
    // What is asked next says what is wrong.
  }
}

place("tools").prepend(
  h("button", { type: "button", id: "link", class: "button quiet", onclick: copyLink, title: "Copy the link to this view" }, icon(ICONS.link), h("span", {}, "Link")),
  h("button", { type: "button", id: "keys", class: "button quiet square", "aria-label": "Keys", onclick: openHelp }, icon(ICONS.keys)),
  h("button", { type: "button", id: "theme", class: "button quiet square", onclick: turnTheme }),
);
setTheme(memory.get("theme"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());

place("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment holds the view
  place("panel").focus();
});
place("settings").open = !NARROW.matches;
NARROW.addEventListener("change", () => (place("settings").open = !NARROW.matches));
document.addEventListener("visibilitychange", refresh);
addEventListener("focus", refresh); // a terminal beside the page leaves it in sight
addEventListener("popstate", () => open(readAddress(location.hash)));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !letters.checked) return;
  if (event.target.closest("input:not([type=range], [type=radio], [type=checkbox]), select, textarea, dialog")) return;
  if (event.key === "n") shown?.options.set({ ...shown.options.get(), seed: newSeed() });
  else if (event.key === "d") turnTheme();
  else if (event.key === "?") openHelp();
  else if (/^[1-9]$/.test(event.key)) {
    const panel = shown?.suited[Number(event.key) - 1];
    if (panel) shown.openView(panel.id);
  } else return;
  event.preventDefault();
});

open(readAddress(location.hash));
