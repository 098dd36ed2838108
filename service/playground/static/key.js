// The key that a service may ask for: kept for this tab alone, never in an address, and asked for in a dialog.

import { h } from "./dom.js";

const PLACE = "ganymede.key";
let key = read();

/**
 * @param {HTMLDialogElement} dialog where it is asked for
 * @returns {{get: Function, ask: Function}}
 */
export function createKeys(dialog) {
  let asking = null;
  return {
    /** The key, or null. */
    get: () => key,
    /** Ask a person for it; all requests that wait share the dialog. Answers whether one was given. */
    ask(words) {
      asking ??= open(dialog, words).finally(() => (asking = null));
      return asking;
    },
  };
}

function open(dialog, words) {
  const field = h("input", { type: "password", id: "key-field", autocomplete: "off", spellcheck: "false", required: true });
  const form = h(
    "form",
    { method: "dialog", class: "ask" },
    h("label", { for: "key-field" }, "Key"),
    field,
    key === null ? null : h("p", { class: "problem", role: "alert" }, words),
    h("p", { class: "hint" }, "It is kept until this tab is closed. The operator of the service makes keys with ", h("code", {}, "python -m service key"), "."),
    h("button", { type: "submit", class: "button", value: "use" }, "Use this key"),
  );
  const title = h("h2", { id: "key-title" }, "This service asks for a key");
  const cancel = h("button", { type: "button", class: "button quiet", onclick: () => dialog.close("") }, "Cancel");
  dialog.replaceChildren(h("div", { class: "dialog-head" }, title, cancel), form);
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "use" ? field.value.trim() : "";
        dialog.replaceChildren();
        if (given) write(given);
        resolve(Boolean(given));
      },
      { once: true },
    );
  });
}

function read() {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

function write(text) {
  key = text;
  try {
    sessionStorage.setItem(PLACE, text);
  } catch {
    // It is asked for again when the page is.
  }
}
