// Vectors: what is generated as points, beside real samples, over the discriminator's field.

import { bounded, h } from "../dom.js";
import { rounded, share, short, verdict } from "../gauges.js";
import { NPY, asNpy, writeNpy } from "../npy.js";
import { drawn, wanted } from "../packages.js";
import { colourOf, createPlot, css, onTheme, paintBars, paintCurve, paintField, paintPoints, paintRing, spanOf } from "../plot.js";
import { same } from "../state.js";

export const id = "vectors";
export const title = "Vectors";
export const uses = ["seed", "label", "truncation", "codes", "condition"];
export const suits = (pkg) => pkg.kind === "vector";

const COUNTS = [256, 1_024, 4_096];
const MOST_NUMBERS = 2 ** 20; // of generated vectors, 4 MiB
const FIELD_NUMBERS = 2 ** 20; // that are sent for one field, 4 MiB
const SIDES = [16, 64]; // of the field's grid: a coarse one at once, then a fine one
const LEAST_SIDE = 8;
const CHUNK = 256; // vectors a request
const CHUNK_NUMBERS = 2 ** 18;
const NEAR_PX = 8; // from a click to the point that is meant
const OUTLIERS_OF_FIELD = 0.01; // of its logits, on either side, that have the colour of the end

export function mount(container, context) {
  const { api, pkg, options, kept, keep, status, signal } = context;
  const { size } = pkg.sample;
  const isLine = size === 1;
  let count = boundedCount(COUNTS[1]);
  let axes = [0, isLine ? 0 : 1];
  let shows = pkg.judges ? "probability" : "none";
  const hidden = new Set(); // of "real" and "generated"
  let generated = null; // {numbers, asked}: what was answered, and the options that it was asked for with
  let real = null; // numbers
  let field = null; // {side, scores: [{probability, logit}], range}
  let chosen = null; // {values, sample, score}
  let drawing = new AbortController();

  const plot = createPlot(paint, signal);
  const words = h("div", { class: "plot-words", role: "status" });
  const legend = h("div", { class: "legend" });
  const readout = h("section", { class: "readout", "aria-label": "One point" });
  const tools = h("div", { class: "plot-tools" });

  function boundedCount(most) {
    return Math.max(1, Math.min(most, Math.floor(MOST_NUMBERS / size)));
  }

  /** What a field is asked about: the class and the condition, where the discriminator is told them. */
  function address() {
    const said = new URLSearchParams({ model: pkg.name, version: pkg.version });
    const { label, condition } = options.get();
    if (pkg.judges.takes.includes("label") && (label !== null || !pkg.scoresAny)) said.set("label", label ?? 0);
    if (pkg.judges.takes.includes("condition")) said.set("condition", condition ?? 0);
    return `score?${said}`;
  }

  async function restart() {
    drawing.abort();
    drawing = new AbortController();
    const mine = drawing;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const asked = options.get();
    plot.canvas.setAttribute("aria-busy", "true");
    try {
      const [points] = await Promise.all([
        api.post("generate?format=npy", { json: { ...wanted(pkg, asked), n: count, seed: asked.seed }, signal: mine.signal, ...asNpy }),
        real || !pkg.reference || api.get(`models/${pkg.name}/versions/${pkg.version}/reference.npy`, { signal: mine.signal, ...asNpy }).then(({ numbers }) => (real = numbers)),
      ]);
      if (mine !== drawing) return;
      generated = { numbers: points.numbers, asked };
      chosen = null;
      fitRange();
      showWords();
      showReadout();
      plot.draw();
      await askField(mine);
    } catch (error) {
      if (!mine.signal.aborted) status.fail(error);
    } finally {
      if (mine === drawing) plot.canvas.removeAttribute("aria-busy");
    }
  }

  const column = (numbers, axis) => Float64Array.from({ length: numbers.length / size }, (_, row) => numbers[row * size + axis]);

  function fitRange() {
    const span = (axis) => spanOf([real, generated?.numbers].filter(Boolean).map((numbers) => column(numbers, axis)));
    plot.range = { x: span(axes[0]), y: isLine ? levels() : span(axes[1]) };
  }

  /** The numbers up the axis of a curve; null where there is none. */
  function levels() {
    if (shows === "none") return null;
    return shows === "probability" ? [0, 1] : (field?.logits ?? [0, 1]);
  }

  /** Means of the real samples (of the generated, where there are none): the place of the coordinates that are not shown. */
  function means() {
    const numbers = real ?? generated.numbers;
    return Array.from({ length: size }, (_, axis) => column(numbers, axis).reduce((sum, each) => sum + each, 0) / (numbers.length / size));
  }

  async function askField(mine) {
    field = null;
    if (!pkg.judges || shows === "none") return;
    const range = plot.range;
    const most = isLine ? SIDES[1] * SIDES[1] : Math.floor(Math.sqrt(FIELD_NUMBERS / size));
    if (most < LEAST_SIDE) return;
    const middle = means();
    for (const wish of isLine ? [SIDES[1] * 4] : SIDES) {
      const side = Math.min(wish, most);
      const rows = isLine ? 1 : side;
      const grid = new Float32Array(side * rows * size);
      for (let row = 0; row < rows; row += 1) {
        for (let place = 0; place < side; place += 1) {
          const start = (row * side + place) * size;
          grid.set(middle, start);
          if (!isLine) grid[start + axes[1]] = range.y[1] - ((row + 0.5) / rows) * (range.y[1] - range.y[0]);
          grid[start + axes[0]] = range.x[0] + ((place + 0.5) / side) * (range.x[1] - range.x[0]);
        }
      }
      const scores = [];
      const chunk = Math.max(1, Math.min(CHUNK, Math.floor(CHUNK_NUMBERS / size)));
      for (let start = 0; start < side * rows; start += chunk) {
        const end = Math.min(start + chunk, side * rows);
        const body = writeNpy(grid.subarray(start * size, end * size), [end - start, size]);
        const answer = await api.post(address(), { body, type: NPY, signal: mine.signal });
        scores.push(...answer.scores);
      }
      if (mine !== drawing || plot.range !== range) return;
      field = { side, rows, scores, range, logits: extent(scores.map(({ logit }) => logit), isLine ? 0 : OUTLIERS_OF_FIELD) };
      if (isLine) range.y = levels();
      plot.draw();
      showLegend();
      if (side === most) break;
    }
    plot.canvas.dataset.field = `${field.side}`;
    showWords();
  }

  function paint({ drawing: on, box, x, y }) {
    const colour = (name) => colourOf(container, name);
    const hasField = field && shows !== "none" && field.range === plot.range;
    if (hasField && !isLine) paintField(on, box, { ...field, levels: field.scores.map(level) }, ["field-low", "field-middle", "field-high"].map(colour));
    if (!generated) return;
    const groups = [
      { name: "generated", numbers: generated.numbers, colour: colour("points") },
      { name: "real", numbers: real, colour: colour(isLine ? "soft" : "ink") },
    ].filter(({ name, numbers }) => numbers && !hidden.has(name));
    if (isLine) {
      paintBars(on, box, plot.range.x, groups.reverse());
      if (hasField) paintCurve(on, x, y, plot.range.x, field.scores.map((score) => score[shows]), colour("ink"));
      return;
    }
    for (const { name, numbers, colour: ink } of groups) {
      if (name === "real") paintPoints(on, pairs(numbers), x, y, { fill: css(ink, 0.8), radius: 1.1 });
      else paintPoints(on, pairs(numbers), x, y, { fill: css(ink), radius: 2, edge: css(colour("surface")) });
    }
    if (chosen) paintRing(on, x(chosen.values[axes[0]]), y(chosen.values[axes[1]]), css(colour("keep")), css(colour("surface")));
  }

  const pairs = (numbers) => [column(numbers, axes[0]), column(numbers, axes[1])];

  /** Where a score stands in the colours, from 0 (generated) to 1 (real). */
  function level({ probability, logit }) {
    if (shows === "probability") return probability;
    const [low, high] = field.logits;
    return high > low ? bounded((logit - low) / (high - low), 0, 1) : 0.5;
  }

  /** What the plot shows, in words: it is all that people who do not see it have. */
  function showWords() {
    const shownAxes = isLine ? [axes[0]] : axes;
    const place = (numbers, axis) => {
      const values = column(numbers, axis);
      const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
      return rounded(mean, Math.sqrt(values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / values.length));
    };
    const groups = [["generated", generated.numbers], ["real", real]].filter(([, numbers]) => numbers);
    const table = groups.map(([name, numbers]) => [name, (numbers.length / size).toLocaleString("en"), ...shownAxes.map((axis) => place(numbers, axis))]);
    const lines = real ? ["The real samples are some that no network was trained on."] : ["This package has no reference sample, so no real points are shown."];
    if (!pkg.judges) lines.push("It has no discriminator with a calibration, so there is no field.");
    else if (field) {
      const high = field.scores.filter(({ probability }) => probability > 0.5).length / field.scores.length;
      lines.push(`The discriminator takes ${share(high)} of the ${isLine ? "range" : "plot"} for real.`);
    } else if (Math.floor(Math.sqrt(FIELD_NUMBERS / size)) < LEAST_SIDE) lines.push(`Vectors of ${size.toLocaleString("en")} numbers are too long for a field.`);
    if (size > 2 && field) lines.push(`In the field ${size === 3 ? "the other coordinate is" : `the other ${(size - 2).toLocaleString("en")} coordinates are`} at the mean of the ${real ? "real" : "generated"} samples.`);
    if (pkg.judges?.takes.includes("label") && options.get().label === null && !pkg.scoresAny) lines.push(`The field is that of class ${pkg.labels[0]}; choose another in the settings.`);
    if (pkg.judges?.batchCoupled) lines.push("This discriminator's scores depend on the samples beside them, here on the grid.");
    if (isLine) lines.push("The bars are shares of the samples, the tallest nearly as high as the plot.");
    words.replaceChildren(
      h(
        "table",
        { class: "places" },
        h("caption", { class: "visually-hidden" }, "Mean and deviation of the points"),
        h("thead", {}, h("tr", {}, ["Points", "Number", ...shownAxes.map((axis) => `${nameOf(axis)}, mean ± deviation`)].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, table.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell) => h("td", {}, cell))))),
      ),
      ...lines.map((line) => h("p", {}, line)),
    );
    const told = table.map(([name, number, ...cells]) => `${number} ${name}: ${cells.map((cell, index) => `${nameOf(shownAxes[index])} ${cell}`).join(", ")}.`);
    plot.canvas.setAttribute("aria-label", `${isLine ? "Histogram" : "Scatter plot"}. ${[...told, ...lines].join(" ")}`);
  }

  const nameOf = (axis) => `x${axis + 1}`;

  function showLegend() {
    const key = (name, words) => h("span", { class: "key" }, h("span", { class: `swatch ${name}`, "aria-hidden": "true" }), words);
    const points = (name) => {
      const input = h("input", { type: "checkbox", id: `show-${name}`, checked: !hidden.has(name) });
      input.addEventListener("change", () => {
        if (input.checked) hidden.delete(name);
        else hidden.add(name);
        plot.draw();
      });
      return h("label", { class: "key" }, input, h("span", { class: `swatch ${name}${isLine ? " box" : ""}`, "aria-hidden": "true" }), name);
    };
    const scale = () => {
      const ends = shows === "probability" ? ["0%", "50%", "100%"] : field ? [field.logits[0], (field.logits[0] + field.logits[1]) / 2, field.logits[1]].map(short) : ["", "", ""];
      return h(
        "span",
        { class: "key scale" },
        h("span", {}, shows === "probability" ? "P(real)" : "logit"),
        h("span", { class: "ramp" }, h("span", { class: "ramp-colours", "aria-hidden": "true" }), h("span", { class: "ramp-ends" }, ends.map((each) => h("span", {}, each)))),
      );
    };
    legend.replaceChildren(
      ...[pkg.reference ? points("real") : null, points("generated"), pkg.judges && shows !== "none" ? (isLine ? key("curve", shows === "probability" ? "P(real)" : "logit") : scale()) : null].filter(Boolean),
    );
  }

  function showTools() {
    const select = (name, words, values, value, change) => {
      const element = h("select", { id: name }, values.map(([each, text]) => h("option", { value: each, selected: each === value }, text)));
      element.addEventListener("change", () => change(element.value));
      return h("label", { class: "plot-tool" }, words, element);
    };
    const counts = [...new Set(COUNTS.map(boundedCount))];
    const coordinate = (place, words) => {
      const input = h("input", { type: "number", id: `axis-${place}`, min: 1, max: size, value: axes[place] + 1 });
      input.addEventListener("change", () => {
        const value = Math.min(size, Math.max(1, Math.round(Number(input.value)) || 1)) - 1;
        if (value === axes[1 - place]) axes = [axes[1], axes[0]];
        else axes[place] = value;
        showTools();
        changeAxes();
      });
      return h("label", { class: "plot-tool" }, words, input);
    };
    tools.replaceChildren(
      ...[
        select("points", "Generated", counts.map((each) => [each, each.toLocaleString("en")]), count, (value) => {
          count = Number(value);
          restart();
        }),
        pkg.judges
          ? select("field", isLine ? "Curve" : "Field", [["probability", "P(real)"], ["logit", "logit"], ["none", "none"]], shows, (value) => {
              shows = value;
              showLegend();
              if (isLine) plot.range.y = levels();
              showWords();
              if (field || shows === "none") plot.draw();
              else askField(drawing).catch((error) => status.fail(error));
            })
          : null,
        size > 2 ? coordinate(0, "Across: coordinate") : null,
        size > 2 ? coordinate(1, "Up: coordinate") : null,
      ].filter(Boolean),
    );
  }

  function changeAxes() {
    if (!generated) return;
    fitRange();
    showWords();
    showReadout();
    field = null;
    plot.draw();
    askField(drawing).catch((error) => status.fail(error));
  }

  function showReadout() {
    const middle = chosen?.values ?? (generated ? Array.from(means()) : []);
    const input = (axis) => {
      const element = h("input", { type: "number", step: "any", id: `point-${axis}`, "aria-label": `Coordinate ${axis + 1} of the point`, value: chosen ? Number(chosen.values[axis].toPrecision(6)) : "" });
      element.addEventListener("change", () => {
        const values = [...middle];
        values[axis] = Number(element.value) || 0;
        choose({ values, sample: null });
      });
      return h("label", { class: "plot-tool" }, nameOf(axis), element);
    };
    readout.replaceChildren(
      h("h2", {}, "One point"),
      h("p", { class: "hint" }, `Click the plot, or type coordinates. ${pkg.judges ? "The discriminator says what it is taken for; " : ""}a generated one can be kept.`),
      h("div", { class: "plot-tools" }, input(axes[0]), isLine ? null : input(axes[1])),
      h("div", { class: "verdict", role: "status" }, chosenWords()),
      chosen?.sample ? keeper() : "",
    );
  }

  function chosenWords() {
    if (!chosen) return "";
    const from = chosen.sample ? `Generated from seed ${chosen.sample.seed}.` : "";
    if (!pkg.judges) return from;
    if (!chosen.score) return `${from} …`;
    const { probability, logit, percentile_real: above } = chosen.score;
    return h("p", {}, h("strong", {}, share(probability)), ` real, ${verdict(probability)}. Logit ${short(logit)}; share of real samples below it: ${share(above / 100)}. ${from}`);
  }

  function keeper() {
    const isKept = kept.get().some((each) => same(each, chosen.sample));
    const button = h("button", { type: "button", class: "button small", id: "keep-point" }, isKept ? "No longer keep" : "Keep");
    button.addEventListener("click", () => {
      status.say(keep(chosen.sample) ? `Seed ${chosen.sample.seed} is kept.` : `Seed ${chosen.sample.seed} is no longer kept.`);
      showReadout();
      readout.querySelector("#keep-point").focus();
    });
    return button;
  }

  async function choose(point) {
    chosen = { ...point, score: null };
    showReadout();
    plot.draw();
    if (!pkg.judges) return;
    const mine = chosen;
    try {
      const body = writeNpy(Float32Array.from(mine.values), [1, size]);
      const { scores } = await api.post(address(), { body, type: NPY, signal: drawing.signal });
      mine.score = scores[0];
      if (mine === chosen) showReadout();
    } catch (error) {
      if (!signal.aborted) status.fail(error);
    }
  }

  plot.canvas.addEventListener("click", (event) => {
    if (!generated) return;
    const [across, up] = plot.read(event);
    const box = plot.frame();
    const per = [(plot.range.x[1] - plot.range.x[0]) / box.width, (plot.range.y[1] - plot.range.y[0]) / box.height];
    let nearest = { distance: NEAR_PX, row: -1 };
    for (let row = 0; row < generated.numbers.length / size; row += 1) {
      const gap = (axis, value, perPixel) => (generated.numbers[row * size + axis] - value) / perPixel;
      const distance = isLine ? Infinity : Math.hypot(gap(axes[0], across, per[0]), gap(axes[1], up, per[1]));
      if (distance < nearest.distance) nearest = { distance, row };
    }
    if (nearest.row >= 0) {
      const values = Array.from(generated.numbers.subarray(nearest.row * size, (nearest.row + 1) * size));
      choose({ values, sample: drawn(pkg, { ...wanted(pkg, generated.asked), seed: generated.asked.seed + nearest.row }, generated.asked) });
      return;
    }
    const values = Array.from(means());
    values[axes[0]] = across;
    if (!isLine) values[axes[1]] = up;
    choose({ values, sample: null });
  });

  container.append(h("div", { class: "vectors" }, h("div", { class: "plot-side" }, tools, plot.canvas, legend), h("div", { class: "plot-aside" }, words, readout)));
  showTools();
  showLegend();
  onTheme(() => plot.draw(), signal);
  const unsubscribe = options.subscribe(restart);
  restart();
  return () => {
    unsubscribe();
    drawing.abort();
    container.replaceChildren();
  };
}

/** The least and the largest number, without a share of them on either side. */
function extent(numbers, outliers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const left = Math.floor(sorted.length * outliers);
  return [sorted[left], sorted[sorted.length - 1 - left]];
}
