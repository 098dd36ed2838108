// Items: how often each is drawn for a user, and what the discriminator says of it.

import { bounded, h } from "../dom.js";
import { share } from "../gauges.js";
import { NPY, asNpy, writeNpy } from "../npy.js";
import { drawn, wanted } from "../packages.js";
import { same } from "../state.js";

export const id = "items";
export const title = "Items";
export const uses = ["seed", "condition", "label", "codes"];
export const suits = (pkg) => pkg.kind === "item";

const COUNTS = [100, 1_000, 10_000];
const SHOWN = 20;
const MOST_SHOWN = 200; // then the page says how many there are besides
const CHUNK = 100; // items a request of scores

export function mount(container, context) {
  const { api, pkg, options, kept, keep, status, signal } = context;
  const whose = pkg.condition?.name ?? "";
  let count = COUNTS[1];
  let shown = SHOWN;
  let order = "drawn";
  let rows = []; // [{item, times, sample, score}], the most frequent first
  let drawing = new AbortController();

  const head = h("div", { class: "items-head" });
  const place = h("div", {});

  async function restart() {
    drawing.abort();
    drawing = new AbortController();
    const mine = drawing;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const asked = options.get();
    place.classList.add("stale");
    try {
      const { numbers } = await api.post("generate?format=npy", { json: { ...wanted(pkg, asked), n: count, seed: asked.seed }, signal: mine.signal, ...asNpy });
      if (mine !== drawing) return;
      rows = tally(numbers, asked);
      shown = SHOWN;
      show();
      await score(mine, rows);
    } catch (error) {
      if (!mine.signal.aborted) status.fail(error);
    } finally {
      if (mine === drawing) place.classList.remove("stale");
    }
  }

  /** Items with how often each was drawn, and the first seed that drew it. */
  function tally(numbers, asked) {
    const found = new Map();
    numbers.forEach((item, index) => {
      const row = found.get(item) ?? { item, times: 0, sample: sampleOf(asked, asked.seed + index), score: null };
      row.times += 1;
      found.set(item, row);
    });
    return [...found.values()].sort((a, b) => b.times - a.times || a.item - b.item);
  }

  /** What draws an item again; a class and codes that were left to the seed are left to it again. */
  const sampleOf = (asked, seed) => drawn(pkg, { ...wanted(pkg, asked), seed }, asked);

  async function score(mine, all) {
    if (!pkg.judges) return;
    const said = new URLSearchParams({ model: pkg.name, version: pkg.version });
    const { label, condition } = options.get();
    if (pkg.judges.takes.includes("condition")) said.set("condition", condition ?? 0);
    if (pkg.judges.takes.includes("label") && (label !== null || !pkg.scoresAny)) said.set("label", label ?? 0);
    const wantedRows = all.slice(0, MOST_SHOWN);
    for (let start = 0; start < wantedRows.length; start += CHUNK) {
      const part = wantedRows.slice(start, start + CHUNK);
      const body = writeNpy(BigInt64Array.from(part, ({ item }) => BigInt(item)), [part.length]);
      const { scores } = await api.post(`score?${said}`, { body, type: NPY, signal: mine.signal });
      if (mine !== drawing) return;
      part.forEach((row, index) => (row.score = scores[index]));
    }
    show();
  }

  function show() {
    const top = rows.slice(0, 10).reduce((sum, row) => sum + row.times, 0) / count;
    const forWhom = pkg.condition ? `For ${whose} ${options.get().condition ?? 0}, ` : "";
    const words = `${forWhom}${count.toLocaleString("en")} draws give ${rows.length.toLocaleString("en")} of ${pkg.sample.count.toLocaleString("en")} items; the ten most frequent make up ${share(top)}.`;
    const sentence = words[0].toUpperCase() + words.slice(1);
    const listed = rows.slice(0, MOST_SHOWN);
    if (order === "score") listed.sort((a, b) => (b.score?.probability ?? 0) - (a.score?.probability ?? 0) || b.times - a.times);
    const most = Math.max(...rows.map((row) => row.times));
    const more = Math.min(listed.length, MOST_SHOWN) - shown;
    place.replaceChildren(
      h("p", { id: "items-words" }, sentence),
      h(
        "div",
        { class: "table-scroll", tabindex: 0, role: "region", "aria-labelledby": "items-words" },
        h(
          "table",
          { class: "items" },
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Item"), sortable("drawn", "Drawn"), pkg.judges ? sortable("score", "P(real)") : null, h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Keep")))),
          h("tbody", {}, listed.slice(0, shown).map((row) => rowOf(row, most))),
        ),
      ),
      more > 0 ? h("button", { type: "button", class: "button", id: "more-items", onclick: () => extend() }, `Show ${Math.min(more, 60)} more`) : "",
      rows.length > MOST_SHOWN && more <= 0 ? h("p", { class: "hint" }, `${(rows.length - MOST_SHOWN).toLocaleString("en")} rarer items are not listed.`) : "",
    );
    status.say(sentence);
  }

  function extend() {
    shown += 60;
    show();
    place.querySelector("#more-items")?.focus();
  }

  function sortable(key, words) {
    const button = h("button", { type: "button", class: "sort", id: `sort-${key}` }, words, h("span", { "aria-hidden": "true" }, order === key ? " ▼" : ""));
    button.addEventListener("click", () => {
      order = key;
      show();
      place.querySelector(`#sort-${key}`).focus();
    });
    return h("th", { scope: "col", "aria-sort": order === key ? "descending" : "none" }, button);
  }

  function rowOf({ item, times, sample, score: judged }, most) {
    const isKept = kept.get().some((each) => same(each, sample));
    const button = h("button", { type: "button", class: "button small quiet", "aria-pressed": String(isKept), "aria-label": `Keep item ${item}, seed ${sample.seed}` }, isKept ? "Kept" : "Keep");
    button.addEventListener("click", () => {
      const now = keep(sample);
      button.textContent = now ? "Kept" : "Keep";
      button.setAttribute("aria-pressed", String(now));
    });
    const length = (value) => h("span", { class: "reading-track", "aria-hidden": "true" }, h("span", { class: "reading-fill", vars: { share: bounded(value, 0, 1) } }));
    return h(
      "tr",
      { "data-item": item },
      h("th", { scope: "row" }, String(item)),
      h("td", {}, h("span", { class: "cell" }, length(times / most), h("span", {}, `${times.toLocaleString("en")} · ${share(times / count)}`))),
      pkg.judges ? h("td", {}, judged ? h("span", { class: "cell real" }, length(judged.probability), h("span", {}, share(judged.probability))) : "…") : null,
      h("td", {}, button),
    );
  }

  const counts = h("fieldset", { class: "chips" }, h("legend", { class: "visually-hidden" }, "Draws"), COUNTS.map((each) => {
    const input = h("input", { type: "radio", name: "draws", value: each, checked: each === count });
    input.addEventListener("change", () => {
      count = each;
      restart();
    });
    return h("label", { class: "chip" }, input, h("span", {}, `${each.toLocaleString("en")} draws`));
  }));
  head.append(counts);
  container.append(h("div", { class: "items-panel" }, head, place));
  const unsubscribe = options.subscribe(restart);
  restart();
  return () => {
    unsubscribe();
    drawing.abort();
    container.replaceChildren();
  };
}
