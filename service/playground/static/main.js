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
 *   kept      store of the kept samples, each as {seed, label, truncation, condition, codes}
 *   keep(sample)  keeps a sample, or no longer; answers whether it is kept now
 *   status    status.say(words) for screen readers, status.fail(error) in a line at the top; pauses and retries are
 *             shown by themselves
 *   signal    aborted when the panel is taken away: give it to every call
 *   open(id)  goes to another panel
 * A store has get(), set(value) and subscribe(listener), which answers a function that ends it.
 */

import { createApi } from "./api.js";
import { mountControls, newSeed } from "./controls.js";
import { ICONS, h, icon } from "./dom.js";
import { mountKept } from "./kept.js";
import { listPackages, loadPackage } from "./packages.js";
import * as walk from "./panels/walk.js";
import * as wall from "./panels/wall.js";
import { NO_OPTIONS, memory, readAddress, store, toggle, writeAddress } from "./state.js";
import { createStatus } from "./status.js";

const PANELS = [wall, walk];
const LOOK_AGAIN_MS = 2_000; // while no package is ready

const place = (id) => document.getElementById(id);
const status = createStatus(place("banner"), place("live"));
const api = createApi(status.waiting);
let shown = null; // what is on the page: {pkg, options, kept, view, unmount…}
let opening = new AbortController();

/** Show a package: the one of the address, or the first that is ready. */
async function open({ name, version, view, options, kept }) {
  opening.abort();
  opening = new AbortController();
  const { signal } = opening;
  try {
    const { all, chosen } = await choose(name, version, signal);
    const pkg = await loadPackage(api, chosen.name, chosen.version, signal);
    if (signal.aborted) return;
    if (name && (name !== pkg.name || (version && version !== pkg.version))) {
      status.fail(new Error(`${name} ${version ?? ""} is not served; this is ${pkg.name} ${pkg.version}.`));
    }
    show(all, pkg, { view, options: { ...NO_OPTIONS, ...options }, kept: kept ?? memory.read(pkg.name) });
  } catch (error) {
    if (!signal.aborted) offerAgain(error);
  }
}

async function choose(name, version, signal) {
  for (;;) {
    const all = await listPackages(api, signal);
    const ready = all.filter((each) => each.ready);
    const chosen =
      ready.find((each) => each.name === name && each.version === version) ?? ready.find((each) => each.name === name) ?? ready[0];
    if (chosen) return { all, chosen };
    tell(all.length ? notReady(all) : "The service has no packages yet. Put one into its models folder; it appears here.");
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    if (signal.aborted) throw signal.reason;
  }
}

const notReady = (all) => `No package is ready: ${all.map((each) => `${each.name} ${each.version} is ${each.state}${each.reason && ` (${each.reason})`}`).join("; ")}.`;

function tell(words, ...more) {
  place("panel").replaceChildren(h("div", { class: "empty" }, h("p", {}, words), ...more));
  status.say(words);
}

function offerAgain(error) {
  const again = h("button", { type: "button", class: "button", onclick: () => open(readAddress(location.hash)) }, "Try again");
  tell(error.message, again);
}

function show(all, pkg, { view, options: chosen, kept: keepsakes }) {
  shown?.unmount();
  const suited = PANELS.filter((panel) => panel.suits(pkg));
  const options = store(chosen);
  const kept = store(keepsakes);
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
  const unsubscribe = [options.subscribe(remember), kept.subscribe(remember)];

  function openView(id, push = true) {
    const panel = suited.find((each) => each.id === id) ?? suited[0];
    if (!panel) return tell(`There is no view for packages of ${pkg.kind}s yet.`);
    if (mounted?.panel === panel) return undefined;
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
    return undefined;
  }

  function remember(push) {
    const address = writeAddress({ name: pkg.name, version: pkg.version, view: mounted?.panel.id, options: options.get(), kept: kept.get() });
    if (address !== location.hash) history[push === true ? "pushState" : "replaceState"](null, "", address);
    memory.write(pkg.name, kept.get());
  }

  shown = {
    pkg,
    suited,
    options,
    openView,
    unmount() {
      mounted?.leave();
      unsubscribe.forEach((each) => each());
      unmountKept();
      controls.unmount();
    },
  };
  openView(view, false);
}

function fillChoice(all, pkg) {
  const select = place("package");
  const key = (each) => `${each.name} ${each.version}`;
  select.replaceChildren(
    ...all.map((each) =>
      h("option", { value: key(each), disabled: !each.ready, selected: key(each) === key(pkg) }, each.ready ? key(each) : `${key(each)} (${each.state})`),
    ),
  );
  select.disabled = false;
  select.onchange = () => {
    const [name, version] = select.value.split(" ");
    const address = writeAddress({ name, version, view: null, options: { ...NO_OPTIONS, seed: shown.options.get().seed }, kept: memory.read(name) });
    history.pushState(null, "", address);
    open(readAddress(address));
  };
}

function fillAbout(pkg) {
  const { sample } = pkg;
  const shape = { image: `${sample.width} × ${sample.height} ${sample.channels === 1 ? "grey" : "colour"}`, vector: `${sample.size} numbers`, item: `one of ${sample.count} items` }[pkg.kind];
  place("about").replaceChildren(
    h("p", { class: "summary" }, pkg.summary),
    h("p", { class: "hint" }, `${shape} · ${pkg.latent.size} latent numbers${pkg.license ? ` · ${pkg.license}` : ""}`),
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
  );
  dialog.showModal();
}

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  place("theme").replaceChildren(icon(isDark() ? ICONS.sun : ICONS.moon));
  place("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
}

function turnTheme() {
  setTheme(memory.theme(isDark() ? "light" : "dark"));
}

place("tools").prepend(
  h("button", { type: "button", id: "keys", class: "button quiet square", "aria-label": "Keys", onclick: openHelp }, icon(ICONS.keys)),
  h("button", { type: "button", id: "theme", class: "button quiet square", onclick: turnTheme }),
);
setTheme(memory.theme());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());

place("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment holds the view
  place("panel").focus();
});
addEventListener("popstate", () => open(readAddress(location.hash)));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
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
