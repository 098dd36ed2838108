// Select: the same seeds without and with the discriminator's choice among candidates, side by side.

import { h, percent } from "../dom.js";
import { share } from "../gauges.js";
import { wanted } from "../packages.js";
import { colourOf, createPlot, css, onTheme, paintBars, paintPoints, spanOf } from "../plot.js";

export const id = "select";
export const title = "Select";
export const uses = ["seed", "label", "truncation", "codes", "condition"];
export const suits = (pkg) => pkg.judges !== null;

const RULES = {
  "best-of": { name: "Best of", words: "The candidate that scores highest is taken: the surest, and the least varied.", candidates: 8 },
  rejection: { name: "Rejection", words: "The first candidate that passes a draw by its density ratio is taken, as if the data's own share of it were kept.", candidates: 64 },
  "metropolis-hastings": { name: "Metropolis–Hastings", words: "A chain moves from candidate to candidate by their density ratios; where it ends is taken.", candidates: 64 },
};
const CANDIDATES = [2, 4, 8, 16, 32, 64, 128];
const COUNTS = { image: [8, 16, 32], item: [8, 16, 32], vector: [64, 256] };
const MOST_PIXELS = 2 ** 21; // of the samples of one side
const MOST_NUMBERS = 2 ** 17; // of the vectors of one side
const SETTLE_MS = 150;

export function mount(container, context) {
  const { api, pkg, options, status, signal } = context;
  const chosen = { method: "best-of", candidates: RULES["best-of"].candidates, gamma: 0, n: mostOf(COUNTS[pkg.kind][1]) };
  let drawing = new AbortController();
  let timer = 0;

  const words = h("p", { class: "hint" });
  const result = h("p", { class: "select-result", role: "status" });
  const candidates = h("select", { id: "candidates" }, CANDIDATES.map((each) => h("option", { value: each }, String(each))));
  const counts = h("select", { id: "seeds" }, [...new Set(COUNTS[pkg.kind].map(mostOf))].map((each) => h("option", { value: each, selected: each === chosen.n }, String(each))));
  const gamma = h("input", { type: "range", id: "gamma", min: 0, max: 4, step: 0.25, value: 0 });
  const gammaWords = h("output", { for: "gamma" });
  const gammaField = h("label", { class: "plot-tool" }, h("span", {}, "γ, stricter above 0: ", gammaWords), gamma);
  const sides = [sideOf("Without selection"), sideOf("With selection")];

  function mostOf(count) {
    const most = { image: MOST_PIXELS / (pkg.sample.width * pkg.sample.height), vector: MOST_NUMBERS / pkg.sample.size, item: count }[pkg.kind];
    return Math.max(1, Math.min(count, Math.floor(most)));
  }

  function sideOf(name) {
    const mean = h("p", { class: "select-mean" }, "…");
    const dots = h("div", { class: "dots" });
    const strip = h("div", { class: "dots-scale", "aria-hidden": "true" }, dots, h("span", {}, "0%"), h("span", {}, "realness"), h("span", {}, "100%"));
    const shown = pkg.kind === "vector" ? plotOf(name) : tilesOf(name);
    return { mean, dots, shown, element: h("section", { class: "select-side", "aria-label": name }, h("h2", {}, name), mean, strip, shown.element) };
  }

  /** Samples as pictures or words: {element, show(samples)}. */
  function tilesOf(name) {
    const element = h("ul", { class: pkg.kind === "image" ? "select-wall" : "select-wall wordy", "aria-label": name });
    return { element, show: (samples) => element.replaceChildren(...samples.map(tileOf)) };
  }

  /** Vectors as points, of one number as bars, on the axes of both sides. */
  function plotOf(name) {
    let columns = [[], []];
    const plot = createPlot(({ drawing: on, box, x, y }) => {
      const ink = colourOf(container, "points");
      if (pkg.sample.size === 1) paintBars(on, box, plot.range.x, [{ numbers: columns[0], colour: ink }]);
      else paintPoints(on, columns, x, y, { fill: css(ink, 0.85), radius: 2.2, edge: css(colourOf(container, "surface")) });
    }, signal);
    onTheme(() => plot.draw(), signal);
    plot.canvas.classList.add("small");
    return {
      element: plot.canvas,
      plot,
      columns: () => columns,
      show(samples) {
        columns = [0, 1].map((axis) => samples.map(({ values }) => values[axis] ?? 0));
        plot.canvas.setAttribute("aria-label", `${name}: ${samples.length} generated vectors${pkg.sample.size > 2 ? ", their first two coordinates" : ""}`);
      },
    };
  }

  /** Put both plots on the same axes. */
  function align() {
    if (pkg.kind !== "vector") return;
    const all = [0, 1].map((axis) => spanOf(sides.map(({ shown }) => shown.columns()[axis])));
    for (const { shown } of sides) {
      shown.plot.range = { x: all[0], y: pkg.sample.size === 1 ? null : all[1] };
      shown.plot.draw();
    }
  }

  function follow() {
    candidates.value = chosen.candidates;
    gammaField.hidden = chosen.method !== "rejection";
    gammaWords.textContent = String(chosen.gamma);
    words.textContent = RULES[chosen.method].words;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(restart, SETTLE_MS);
  }

  async function restart() {
    clearTimeout(timer);
    drawing.abort();
    drawing = new AbortController();
    const mine = drawing;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const asked = options.get();
    const json = { ...wanted(pkg, asked), n: chosen.n, seed: asked.seed, scores: true };
    const select = { method: chosen.method, candidates: chosen.candidates, ...(chosen.method === "rejection" ? { gamma: chosen.gamma } : {}) };
    follow();
    sides.forEach(({ shown }) => shown.element.classList.add("stale"));
    try {
      const answers = await Promise.all([json, { ...json, select }].map((each) => api.post("generate", { json: each, signal: mine.signal })));
      if (mine !== drawing) return;
      const means = answers.map(({ samples }, index) => showSide(sides[index], samples));
      align();
      const points = (means[1] - means[0]) * 100;
      const change = Math.abs(points) < 0.5 ? "as real as before" : `${Math.round(Math.abs(points))} points ${points > 0 ? "more" : "less"} real`;
      result.textContent = `${RULES[chosen.method].name}, ${chosen.candidates} candidates for each seed: on average ${change} (${share(means[0])} without, ${share(means[1])} with it).`;
    } catch (error) {
      if (mine.signal.aborted) return;
      result.textContent = error.message;
      sides.forEach(({ shown, mean, dots }) => {
        shown.show([]);
        dots.replaceChildren();
        mean.textContent = "–";
      });
    } finally {
      if (mine === drawing) sides.forEach(({ shown }) => shown.element.classList.remove("stale"));
    }
  }

  /** Show the samples of one side; answers their mean realness. */
  function showSide({ mean, dots, shown }, samples) {
    const average = samples.reduce((sum, { realness }) => sum + realness, 0) / samples.length;
    mean.replaceChildren("mean realness ", h("strong", {}, share(average)));
    dots.replaceChildren(...samples.map(({ realness }) => h("span", { class: "dot", vars: { share: realness } })), h("span", { class: "dot mean", vars: { share: average } }));
    shown.show(samples);
    return average;
  }

  function tileOf(sample) {
    const name = `Seed ${sample.seed}${sample.label_name === undefined ? "" : `, class ${sample.label_name}`}, realness ${percent(sample.realness)}`;
    const { width, height } = pkg.sample;
    const shown =
      pkg.kind === "image"
        ? h("img", { src: sample.image, alt: name, title: name, width, height, class: Math.max(width, height) < 129 ? "pixelated" : null })
        : h("span", { class: "word" }, `item ${sample.item}`);
    return h("li", { class: "select-tile", "data-seed": sample.seed }, shown, h("span", { class: "caption", "aria-hidden": pkg.kind === "image" ? "true" : null }, h("span", { class: "seed" }, String(sample.seed)), h("span", { class: "share" }, percent(sample.realness))), h("span", { class: "meter", vars: { share: sample.realness } }));
  }

  const rules = h(
    "fieldset",
    { class: "chips" },
    h("legend", { class: "visually-hidden" }, "Rule"),
    Object.entries(RULES).map(([method, { name, candidates: usual }]) => {
      const input = h("input", { type: "radio", name: "rule", value: method, checked: method === chosen.method });
      input.addEventListener("change", () => {
        Object.assign(chosen, { method, candidates: usual });
        restart();
      });
      return h("label", { class: "chip" }, input, h("span", {}, name));
    }),
  );
  candidates.addEventListener("change", () => {
    chosen.candidates = Number(candidates.value);
    restart();
  });
  counts.addEventListener("change", () => {
    chosen.n = Number(counts.value);
    restart();
  });
  gamma.addEventListener("input", () => {
    chosen.gamma = Number(gamma.value);
    follow();
    later();
  });
  for (const name of ["pointerover", "pointerout"]) {
    container.addEventListener(
      name,
      (event) => {
        const seed = event.target.closest(".select-tile")?.dataset.seed;
        for (const tile of container.querySelectorAll(".select-tile")) tile.classList.toggle("partner", name === "pointerover" && tile.dataset.seed === seed);
      },
      { signal },
    );
  }

  container.append(
    h("div", { class: "select-tools" }, rules, h("label", { class: "plot-tool" }, "Candidates", candidates), h("label", { class: "plot-tool" }, "Seeds", counts), gammaField),
    words,
    result,
    h("div", { class: "select-sides" }, sides.map(({ element }) => element)),
  );
  const unsubscribe = options.subscribe(restart);
  restart();
  return () => {
    clearTimeout(timer);
    unsubscribe();
    drawing.abort();
    container.replaceChildren();
  };
}
