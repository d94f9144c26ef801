// Tabs after the WAI-ARIA pattern: one of them is in the tab order, arrow keys move and choose.

import { make } from "./dom.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

export class Tabs {
  #list;
  #panel;
  #onChoose;
  #names = [];
  #chosen = "";

  /** `onChoose(name)` is called when another tab is chosen by the user. */
  constructor(list, panel, onChoose) {
    this.#list = list;
    this.#panel = panel;
    this.#onChoose = onChoose;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) this.#pick(tab.textContent);
    });
  }

  get names() {
    return this.#names;
  }

  /** Shows these tabs. */
  set(names) {
    if (names.join("\n") === this.#names.join("\n")) return;
    this.#names = names;
    const tabs = names.map((name) =>
      make("button", "tab", name, { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": this.#panel.id }),
    );
    this.#list.replaceChildren(...tabs);
    this.choose(this.#chosen);
  }

  /** Marks a tab as the chosen one. */
  choose(name) {
    this.#chosen = name;
    for (const tab of this.#list.children) {
      const own = tab.textContent === name;
      tab.ariaSelected = String(own);
      tab.tabIndex = own ? 0 : -1;
      if (own) {
        this.#panel.setAttribute("aria-labelledby", tab.id);
        tab.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    }
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const tabs = Array.from(this.#list.children);
    const last = tabs.length - 1;
    const place = tabs.indexOf(document.activeElement);
    let next;
    if (event.key in STEPS) next = (place + STEPS[event.key] + tabs.length) % tabs.length;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = last;
    else return;
    event.preventDefault();
    tabs[next].focus();
    this.#pick(tabs[next].textContent);
  }

  #pick(name) {
    if (name === this.#chosen) return;
    this.choose(name);
    this.#onChoose(name);
  }
}
