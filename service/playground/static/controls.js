// What is drawn: the start of the seeds, the class, truncation, codes and the condition, by what the package takes.

import { ICONS, bounded, h, icon } from "./dom.js";
import { canTruncate } from "./packages.js";
import { LARGEST_SEED } from "./state.js";

const MOST_CHIPS = 12; // more classes than this are a list
const NEW_SEEDS_BELOW = 1_000_000; // short enough to be read aloud
const SETTLE_MS = 120; // a slider that is being moved asks once it rests

const TRUNCATIONS = { standard_normal: { low: 0.3, high: 3, step: 0.1 }, uniform: { low: 0.1, high: 1, step: 0.05 } };

export const newSeed = () => Math.floor(Math.random() * NEW_SEEDS_BELOW);

/**
 * Fill the form with the controls of a package.
 * @param {HTMLFormElement} form
 * @param {Object} pkg
 * @param {Object} options store of what is chosen; the controls write it and follow it
 * @returns {{show: Function, unmount: Function}} `show(names)` leaves those that a panel uses
 */
export function mountControls(form, pkg, options) {
  let timer = 0;
  const follow = [];
  const change = (changes, settle = 0) => {
    clearTimeout(timer);
    const apply = () => options.set({ ...options.get(), ...changes });
    if (settle) timer = setTimeout(apply, settle);
    else apply();
  };

  const fields = [seedField()];
  if (pkg.condition) fields.push(conditionField());
  if (pkg.labels) fields.push(labelField());
  if (canTruncate(pkg)) fields.push(truncationField());
  for (const code of pkg.codes) fields.push("size" in code ? categoricalField(code) : continuousField(code));
  form.replaceChildren(...fields);
  form.onsubmit = (event) => event.preventDefault();
  const sync = () => follow.forEach((each) => each(options.get()));
  sync();
  const unsubscribe = options.subscribe(sync);

  function seedField() {
    const input = h("input", { type: "text", inputmode: "numeric", id: "seed", pattern: "[0-9]*", maxlength: 16, spellcheck: "false" });
    input.addEventListener("change", () => change({ seed: readSeed(input.value, options.get().seed) }));
    follow.push(({ seed }) => (input.value = seed));
    const dice = h(
      "button",
      { type: "button", id: "new-seeds", class: "button", onclick: () => change({ seed: newSeed() }) },
      icon(ICONS.dice),
      "New seeds",
    );
    return field("seed", "First seed", h("div", { class: "pair" }, input, dice), { id: "seed" });
  }

  function conditionField() {
    const { name, count } = pkg.condition;
    const input = h("input", { type: "number", id: "condition", min: 0, max: count - 1, step: 1 });
    input.addEventListener("change", () => {
      const value = bounded(Math.round(Number(input.value) || 0), 0, count - 1);
      input.value = value;
      change({ condition: value });
    });
    follow.push(({ condition }) => (input.value = condition ?? 0));
    return field("condition", `${name} (0 to ${count - 1})`, input, { id: "condition" });
  }

  function labelField() {
    const names = pkg.labels.map((name, index) => [index, name]);
    return choices("label", "Class", names, (options) => options.label, (label) => change({ label }));
  }

  function categoricalField({ name, size }) {
    const values = Array.from({ length: size }, (_, value) => [value, String(value)]);
    return choices("codes", name, values, ({ codes }) => codes[name] ?? null, (value) => change({ codes: withCode(name, value) }));
  }

  function truncationField() {
    const { low, high, step } = TRUNCATIONS[pkg.latent.prior];
    const range = h("input", { type: "range", id: "truncation", min: low, max: high + step, step });
    const output = h("output", { for: "truncation" });
    const read = () => (Number(range.value) > high + step / 2 ? null : Number(range.value));
    const describe = (value) => {
      output.textContent = value === null ? "none" : `± ${value}`;
      range.setAttribute("aria-valuetext", output.textContent);
    };
    range.addEventListener("input", () => {
      describe(read());
      change({ truncation: read() }, SETTLE_MS);
    });
    follow.push(({ truncation }) => {
      range.value = truncation ?? high + step;
      describe(truncation);
    });
    return field("truncation", "Truncation", range, { id: "truncation", output });
  }

  function continuousField({ name, low, high }) {
    const id = `code-${name}`;
    const range = h("input", { type: "range", id, min: low, max: high, step: (high - low) / 100 });
    const output = h("output", { for: id });
    const free = h("button", { type: "button", class: "link", onclick: () => change({ codes: withCode(name, null) }) }, "from the seed");
    const describe = (value) => {
      output.textContent = value === null ? "from the seed" : value.toFixed(2);
      free.hidden = value === null;
      range.classList.toggle("unset", value === null);
      range.setAttribute("aria-valuetext", output.textContent);
    };
    range.addEventListener("input", () => {
      describe(Number(range.value));
      change({ codes: withCode(name, Number(Number(range.value).toFixed(4))) }, SETTLE_MS);
    });
    follow.push(({ codes }) => {
      const value = codes[name] ?? null;
      range.value = value ?? (low + high) / 2;
      describe(value);
    });
    return field("codes", name, [range, free], { id, output });
  }

  function withCode(name, value) {
    const codes = { ...options.get().codes };
    if (value === null) delete codes[name];
    else codes[name] = value;
    return codes;
  }

  /** One of few values as chips, of many as a list; "any" leaves it to the seed. */
  function choices(use, title, values, chosen, choose) {
    const id = `choice-${use}-${title.replace(/\W/g, "_")}`;
    if (values.length > MOST_CHIPS) {
      const select = h("select", { id }, h("option", { value: "" }, "any"), ...values.map(([value, name]) => h("option", { value }, name)));
      select.addEventListener("change", () => choose(select.value === "" ? null : Number(select.value)));
      follow.push((now) => (select.value = chosen(now) ?? ""));
      return field(use, title, select, { id });
    }
    const chip = (value, name) => {
      const input = h("input", { type: "radio", name: id, value: value ?? "" });
      input.addEventListener("change", () => choose(value));
      follow.push((now) => (input.checked = chosen(now) === value));
      return h("label", { class: "chip" }, input, h("span", {}, name));
    };
    const chips = h("div", { class: "chips" }, chip(null, "any"), ...values.map(([value, name]) => chip(value, name)));
    return h("fieldset", { class: "field", "data-use": use }, h("legend", {}, title), chips);
  }

  return {
    show(names) {
      for (const each of form.children) each.hidden = !names.includes(each.dataset.use);
    },
    unmount() {
      clearTimeout(timer);
      unsubscribe();
      form.replaceChildren();
    },
  };
}

function field(use, title, content, { id, output = null }) {
  return h("div", { class: "field", "data-use": use }, h("div", { class: "title" }, h("label", { for: id }, title), output), content);
}

function readSeed(text, otherwise) {
  const number = /^\s*\d+\s*$/.test(text) ? Number(text) : otherwise;
  return Math.min(number, LARGEST_SEED);
}
