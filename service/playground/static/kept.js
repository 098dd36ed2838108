// Kept samples: a row at the foot of the page, and a dialog with what draws one again.

import { ICONS, copy, h, icon, isSmall, percent } from "./dom.js";
import { addressOf, bodyOf, curlOf, pythonOf } from "./snippets.js";
import { same, toggle, writeKept } from "./state.js";

const MOST_TRIES = 6;
const FIRST_PAUSE_MS = 500;

/** What a sample is called: its seed, and its class where there is one. */
export function nameOf(pkg, sample) {
  if (!pkg.labels || sample.label === null) return `seed ${sample.seed}`;
  const name = String(pkg.labels[sample.label] ?? sample.label);
  return `seed ${sample.seed}, ${/^\d+$/.test(name) ? `class ${name}` : name}`;
}

/** A picture of a kept sample, by its immutable address; of vectors and items its seed. */
export function thumbnail({ api, pkg }, sample) {
  if (pkg.kind !== "image") return h("span", { class: "thumb word" }, String(sample.seed));
  const image = h("img", { class: isSmall(pkg) ? "thumb pixelated" : "thumb", alt: "", width: pkg.sample.width, height: pkg.sample.height });
  const address = addressOf(api, pkg, sample);
  if (api.hasKey()) {
    fetchInto(image, api, address);
    return image;
  }
  let tries = 0;
  image.addEventListener("error", () => {
    tries += 1; // a full queue refuses pictures, too
    if (tries < MOST_TRIES) setTimeout(() => (image.src = address), FIRST_PAUSE_MS * 2 ** tries);
  });
  image.src = address;
  return image;
}

/** Show a picture that a browser cannot ask for by its address alone. */
async function fetchInto(image, api, address) {
  try {
    const blob = await api.get(address, { accept: "image/png", read: (response) => response.blob() });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.src = URL.createObjectURL(blob);
  } catch {
    // The line at the top says what it is; the sample keeps its name.
  }
}

/**
 * Show the row of kept samples; it goes when nothing is kept.
 * @param {HTMLElement} tray
 * @param {HTMLDialogElement} dialog
 * @param {Object} context as panels get it, with `walk()` that opens the walk
 * @returns {Function} that takes it away
 */
export function mountKept(tray, dialog, context) {
  const { kept } = context;
  const show = () => {
    const samples = kept.get();
    tray.hidden = samples.length === 0;
    document.body.classList.toggle("keeping", samples.length > 0);
    tray.replaceChildren(
      h("h2", { class: "tray-title" }, "Kept ", h("span", { class: "count" }, String(samples.length))),
      h("ul", { class: "strip" }, samples.map((sample) => h("li", {}, opener(sample)))),
      h(
        "div",
        { class: "tray-tools" },
        samples.length > 1 && context.walk ? h("button", { type: "button", class: "button", onclick: context.walk }, icon(ICONS.play), "Walk") : null,
        h("button", { type: "button", class: "button quiet", onclick: () => kept.set([]) }, "Clear"),
      ),
    );
  };
  const opener = (sample) =>
    h(
      "button",
      { type: "button", class: "keepsake", "aria-label": `Details of ${nameOf(context.pkg, sample)}`, title: nameOf(context.pkg, sample), onclick: () => openDetails(dialog, context, sample) },
      thumbnail(context, sample),
    );
  show();
  const unsubscribe = kept.subscribe(show);
  return () => {
    unsubscribe();
    if (dialog.open) dialog.close();
    tray.replaceChildren();
    tray.hidden = true;
  };
}

function openDetails(dialog, context, sample) {
  const { api, pkg, kept } = context;
  const asking = new AbortController();
  const facts = h("dl", { class: "facts" });
  const fact = (name, value) => facts.append(h("dt", {}, name), h("dd", {}, value));
  fact("Seed", String(sample.seed));
  if (pkg.labels && sample.label !== null) fact("Class", pkg.labels[sample.label]);
  if (sample.condition !== null && pkg.condition) fact(pkg.condition.name, String(sample.condition));
  if (sample.truncation !== null) fact("Truncation", `± ${sample.truncation}`);
  for (const [name, value] of Object.entries(sample.codes)) fact(name, String(Number(value.toFixed(4))));
  if (pkg.scored) {
    const realness = h("dd", {}, "…");
    facts.append(h("dt", {}, "Realness"), realness);
    api
      .post("generate", { json: { ...bodyOf(pkg, sample), scores: true }, signal: asking.signal })
      .then(({ samples }) => (realness.textContent = percent(samples[0].realness)))
      .catch((error) => (realness.textContent = error.name === "AbortError" ? "" : error.message));
  }
  const all = kept.get();
  const place = all.findIndex((each) => same(each, sample));
  const go = (step) => () => openDetails(dialog, context, all[(place + step + all.length) % all.length]);
  const remove = () => {
    dialog.close();
    if (kept.get().some((each) => same(each, sample))) toggle(kept, sample);
  };
  dialog.onclose = () => asking.abort();
  dialog.onkeydown = (event) => {
    if (event.target.closest("pre, input, textarea")) return;
    if (event.key === "ArrowRight") go(1)();
    if (event.key === "ArrowLeft") go(-1)();
  };
  dialog.replaceChildren(
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: "details-title" }, nameOf(pkg, sample)),
      h("button", { type: "button", class: "button quiet square", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close)),
    ),
    h(
      "div",
      { class: "details", "data-sample": writeKept(sample) },
      h("div", { class: "portrait" }, thumbnail(context, sample)),
      h(
        "div",
        {},
        facts,
        h(
          "div",
          { class: "row" },
          h("button", { type: "button", class: "button", onclick: go(-1), disabled: all.length < 2 }, "Previous"),
          h("button", { type: "button", class: "button", onclick: go(1), disabled: all.length < 2 }, "Next"),
          h("button", { type: "button", class: "button quiet", onclick: remove }, "Remove"),
        ),
      ),
    ),
    snippet(context, "Address", api.hasKey() ? "It never changes, and answers requests that have the key." : "It never changes, and caches may keep what is there.", addressOf(api, pkg, sample)),
    snippet(context, "curl", "", curlOf(api, pkg, sample)),
    snippet(context, "Python", "", pythonOf(api, pkg, sample)),
  );
  if (!dialog.open) dialog.showModal();
}

function snippet({ status }, title, words, text) {
  const button = h("button", { type: "button", class: "button small", "aria-label": `Copy: ${title}` }, icon(ICONS.copy), h("span", {}, "Copy"));
  button.addEventListener("click", async () => {
    const copied = await copy(text);
    button.lastChild.textContent = copied ? "Copied" : "Select and copy";
    status.say(copied ? `${title} copied.` : "The browser does not let this page copy; select the text.");
  });
  return h(
    "section",
    { class: "snippet", "data-snippet": title.toLowerCase() },
    h("div", { class: "snippet-head" }, h("h3", {}, title), button),
    words ? h("p", { class: "hint" }, words) : null,
    h("pre", { tabindex: "0", "aria-label": title }, text),
  );
}
