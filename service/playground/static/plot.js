// Plots on a canvas: points and a field over two axes, bars and a line over one; sharp, and in the page's colours.

import { h } from "./dom.js";
import { short } from "./gauges.js";

const MARGIN = { top: 10, right: 12, bottom: 30, left: 46 };
const TICKS = 6;
const ROOM = 0.08; // of the range, around all points
const OUTLIERS = 0.001; // of the points, on either side, that may lie outside of the plot
const BINS = 80; // of bars

/** The value of a CSS variable of colour as [red, green, blue]; `light-dark()` is resolved by the browser. */
export function colourOf(element, variable) {
  const probe = h("span", { class: "colour-probe", vars: { probed: `var(--${variable})` }, hidden: true });
  element.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

export const css = (colour, alpha = 1) => `rgb(${colour.join(" ")} / ${alpha})`;

/** Call `act` when the page's colours change. */
export function onTheme(act, signal) {
  const watch = new MutationObserver(act);
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  signal.addEventListener("abort", () => watch.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", act, { signal });
}

/** Round numbers between two bounds. */
export function ticks(low, high) {
  const raw = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
  return found;
}

/**
 * Make a plot that is drawn again when its size changes.
 * @param {Function} paint called with {drawing, box, x, y}: a context in CSS pixels, the inner rectangle, and functions
 *   from numbers of the axes to pixels
 * @param {AbortSignal} signal ends it
 * @returns {Object} `canvas`, `draw()`, `range` to be set to {x: [low, high], y: [low, high] or null for no axis}, `read(event)` → [x, y]
 */
export function createPlot(paint, signal) {
  const canvas = h("canvas", { class: "plot", role: "img" });
  const plot = { canvas, range: { x: [0, 1], y: [0, 1] }, draw, read, frame };
  const resized = new ResizeObserver(() => draw());
  resized.observe(canvas);
  signal.addEventListener("abort", () => resized.disconnect());

  function frame() {
    const { clientWidth, clientHeight } = canvas;
    return { left: MARGIN.left, top: MARGIN.top, width: clientWidth - MARGIN.left - MARGIN.right, height: clientHeight - MARGIN.top - MARGIN.bottom };
  }

  function scales(box) {
    const [left, right] = plot.range.x;
    const [low, high] = plot.range.y ?? [0, 1];
    return {
      x: (value) => box.left + ((value - left) / (right - left)) * box.width,
      y: (value) => box.top + (1 - (value - low) / (high - low)) * box.height,
    };
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!width || !height || signal.aborted) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const drawing = canvas.getContext("2d");
    drawing.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawing.clearRect(0, 0, width, height);
    const box = frame();
    const { x, y } = scales(box);
    drawing.save();
    drawing.beginPath();
    drawing.rect(box.left, box.top, box.width, box.height);
    drawing.clip();
    paint({ drawing, box, x, y });
    drawing.restore();
    axes(drawing, box, x, y);
  }

  function axes(drawing, box, x, y) {
    const [soft, line] = [colourOf(canvas.parentElement, "soft"), colourOf(canvas.parentElement, "line")];
    drawing.strokeStyle = css(line);
    drawing.strokeRect(box.left, box.top, box.width, box.height);
    drawing.fillStyle = css(soft);
    drawing.font = "12px system-ui, sans-serif";
    drawing.textAlign = "center";
    drawing.textBaseline = "top";
    for (const tick of ticks(...plot.range.x)) drawing.fillText(short(tick), x(tick), box.top + box.height + 8);
    drawing.textAlign = "right";
    drawing.textBaseline = "middle";
    if (plot.range.y) for (const tick of ticks(...plot.range.y)) drawing.fillText(short(tick), box.left - 8, y(tick));
  }

  function read(event) {
    const [box, outer] = [frame(), canvas.getBoundingClientRect()];
    const [left, right] = plot.range.x;
    const [low, high] = plot.range.y ?? [0, 1];
    return [
      left + ((event.clientX - outer.left - box.left) / box.width) * (right - left),
      low + (1 - (event.clientY - outer.top - box.top) / box.height) * (high - low),
    ];
  }

  return plot;
}

/** The range of an axis that shows nearly all of some columns of numbers, with room around them. */
export function spanOf(columns) {
  const bounds = columns.map((column) => {
    const sorted = Float64Array.from(column).sort();
    const left = Math.floor(sorted.length * OUTLIERS);
    return [sorted[left], sorted[sorted.length - 1 - left]];
  });
  const [low, high] = [Math.min(...bounds.map(([each]) => each)), Math.max(...bounds.map(([, each]) => each))];
  const room = (high - low) * ROOM || 1;
  return [low - room, high + room];
}

/** Points of two columns as discs. */
export function paintPoints(on, [across, up], x, y, { fill, radius, edge = null }) {
  on.fillStyle = fill;
  on.beginPath();
  across.forEach((value, row) => {
    const [left, top] = [x(value), y(up[row])];
    on.moveTo(left + radius, top);
    on.arc(left, top, radius, 0, 2 * Math.PI);
  });
  if (edge) {
    on.strokeStyle = edge;
    on.lineWidth = 1.2;
    on.stroke();
  }
  on.fill();
}

/** Levels from 0 to 1 of a grid, row by row from the top, in the colours of both ends and the middle. */
export function paintField(on, box, { side, rows, levels }, [low, middle, high]) {
  const picture = new ImageData(side, rows);
  levels.forEach((level, index) => {
    const at = level * 2;
    const [from, to, part] = at < 1 ? [low, middle, at] : [middle, high, at - 1];
    picture.data.set([...from.map((each, channel) => each + (to[channel] - each) * part), 255], index * 4);
  });
  const small = new OffscreenCanvas(side, rows);
  small.getContext("2d").putImageData(picture, 0, 0);
  on.imageSmoothingEnabled = true;
  on.imageSmoothingQuality = "high";
  on.drawImage(small, box.left, box.top, box.width, box.height);
}

/** Values at the middles of equal parts of a range, as a line. */
export function paintCurve(on, x, y, [left, right], values, ink) {
  on.strokeStyle = css(ink);
  on.lineWidth = 2;
  on.beginPath();
  values.forEach((value, index) => on.lineTo(x(left + ((index + 0.5) / values.length) * (right - left)), y(value)));
  on.stroke();
}

/** Groups of numbers as bars beside the range, each bar a share of its group, the tallest nearly as high as the box. */
export function paintBars(on, box, [left, right], groups) {
  const shares = groups.map(({ numbers }) => {
    const bins = new Float64Array(BINS);
    for (const value of numbers) {
      const bin = Math.floor(((value - left) / (right - left)) * BINS);
      if (bin >= 0 && bin < BINS) bins[bin] += 1 / numbers.length;
    }
    return bins;
  });
  const most = Math.max(...shares.flatMap((bins) => [...bins]));
  shares.forEach((bins, group) => {
    on.fillStyle = css(groups[group].colour, 0.55);
    bins.forEach((each, bin) => {
      const high = (each / most) * box.height * 0.92;
      on.fillRect(box.left + (bin / BINS) * box.width, box.top + box.height - high, box.width / BINS, high);
    });
  });
}

/** A ring around one point. */
export function paintRing(on, across, up, fill, edge) {
  for (const [style, width] of [[edge, 5], [fill, 2.5]]) {
    on.strokeStyle = style;
    on.lineWidth = width;
    on.beginPath();
    on.arc(across, up, 8, 0, 2 * Math.PI);
    on.stroke();
  }
}
