// Plots on a canvas: points and a field over two axes, bars and a line over one; sharp, and in the page's colours.

import { h } from "./dom.js";
import { short } from "./gauges.js";

const MARGIN = { top: 10, right: 12, bottom: 30, left: 46 };
const TICKS = 6;

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
