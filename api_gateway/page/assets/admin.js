// Making a board, and changing its rules: for who has a token of an administrator.

import { ApiError, call } from "./api.js";
import { byId, isolated, make, storage } from "./dom.js";
import { Form, Mistake } from "./forms.js";
import { wholeNumber } from "./scores.js";

// As a player's token it lasts as long as this tab.
const memory = storage("sessionStorage", "leaderboard.admin");

const WORDS = ["title", "operator", "order", "ties", "submit"];
const NUMBERS = ["decimals", "min_score", "max_score", "metadata_bytes"];

export class Admin {
  #token = memory.read();
  #boards;
  #enter;
  #form;
  #onMade;
  #filled = "";

  /** `onMade(name)` is called when somebody wants to see the board that was made. */
  constructor(boards, onMade) {
    this.#boards = boards;
    this.#onMade = onMade;
    this.#enter = new Form(byId("admin-enter"), ({ token }) => this.#open(token));
    this.#form = new Form(byId("define"), (values) => this.#define(values));
    byId("define-board").addEventListener("change", (event) => this.#fill(event.target.value.trim()));
    byId("admin-leave").addEventListener("click", () => {
      this.#keep(null);
      byId("admin-token").focus();
    });
    byId("admin-open").addEventListener("click", () => {
      byId("admin").hidden = false;
      byId(this.#token === null ? "admin-token" : "define-board").focus();
    });
    byId("admin").hidden = this.#token === null;
    this.#show();
  }

  #open(token) {
    // Whose it is the API says, with the first board.
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token.trim())) {
      throw new Mistake("token", "The three parts of a token with dots between, please.");
    }
    this.#keep(token.trim());
    byId("define-board").focus();
    return "";
  }

  #keep(token) {
    this.#token = token;
    memory.write(token);
    byId("admin-token").value = "";
    this.#form.say("");
    this.#enter.say("");
    this.#show();
  }

  #show() {
    byId("admin-enter").hidden = this.#token !== null;
    byId("define").hidden = this.#token === null;
  }

  /** Puts the rules of a board that there is into the form: whoever states rules states all of them. */
  #fill(name) {
    const board = this.#boards.get(name);
    this.#form.label = board ? "Change the board" : "Make the board";
    if (!board || name === this.#filled) return;
    this.#filled = name;
    const { elements } = byId("define");
    for (const field of [...WORDS, ...NUMBERS]) elements[field].value = board.rules[field] ?? "";
    elements.regions.value = String(board.rules.regions);
  }

  async #define({ board: name, ...values }) {
    if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) {
      throw new Mistake("board", "Up to 63 of a-z, 0-9, - and _, a letter or digit first.");
    }
    const rules = { regions: values.regions === "true" };
    for (const field of WORDS) rules[field] = values[field];
    // What is left empty is as at the beginning.
    for (const field of NUMBERS) rules[field] = values[field] ? wholeNumber(values[field], field) : undefined;
    if (!(await this.#boards.ask())) throw new ApiError(0, "no_answer", "");
    const known = this.#boards.get(name);
    if (known && this.#filled !== name) {
      this.#fill(name);
      throw new Mistake("board", "It is there already. The form has its rules now: change them and send again.");
    }
    try {
      // What this form has no field for stays as it is.
      await call("PUT", `/boards/${name}`, { body: { ...known?.rules, ...rules }, token: this.#token });
    } catch (error) {
      if (error.code !== "invalid_token" && error.code !== "forbidden") throw error;
      this.#keep(null);
      this.#enter.say("This token may not make boards, or has expired.", "bad");
      byId("admin-token").focus();
      return "";
    }
    this.#filled = name;
    this.#form.label = "Change the board";
    await this.#boards.ask();
    const show = make("button", "link-button", "Show it", { type: "button" });
    show.addEventListener("click", () => this.#onMade(name));
    const label = this.#boards.get(name)?.label ?? name;
    return ["The board ", isolated(label), known ? " is changed. " : " is made. ", show];
  }
}
