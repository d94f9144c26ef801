// A form that calls the API: one call at a time, errors in words beside the fields, a countdown when it is too early.

import { ApiError } from "./api.js";
import { make, setText } from "./dom.js";

const WORDS = {
  no_answer: "No answer from the leaderboard. Check the connection and try again.",
  rate_limited: "Too fast: this player's scores come quicker than the limit allows.",
  region_rate_limited: "This region takes no more scores right now.",
  queue_full: "The database is behind; no more scores are taken for now.",
  unavailable: "Scores cannot be taken at the moment; boards still show what they have.",
  warming_up: "The boards are being rebuilt from the database. Scores can be sent again in a moment.",
  invalid_token: "Your sign-in has expired. Sign in again.",
  invalid_credentials: "ID, name and password do not belong together.",
  user_not_found: "There is no player with this ID.",
  board_closed: "This board is closed: it takes no scores.",
  board_not_found: "This board is not there any more.",
  no_submits_left: "This board takes no more scores of this player.",
  not_everywhere: "The rules are saved, and not everything goes by them yet. Send them again in a moment.",
  too_many_boards: "There are as many boards as there may be. Nothing was changed.",
  score_out_of_bounds: "This game does not take such a score. Nothing was changed.",
  score_out_of_range: "The score would leave the range of ±9,007,199,254,740,991. Nothing was changed.",
};

/** A mistake that is clear before asking the server: the field's name and what to do about it. */
export class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

export class Form {
  #form;
  #button;
  #message;
  #label;
  #action;
  #busy = false;
  #timer = 0;

  /**
   * `action(values)` gets the trimmed values by field name, may throw Mistake or ApiError, and returns what to say
   * (a text or nodes) when it went well.
   */
  constructor(form, action) {
    this.#form = form;
    this.#button = form.querySelector("button[type=submit]");
    this.#message = form.querySelector(".message");
    this.#message.id = `${form.id}-message`;
    this.#label = this.#button.textContent;
    this.#action = action;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** What the button says while nothing is in its way. */
  set label(text) {
    this.#label = text;
    if (!this.#button.hasAttribute("aria-disabled")) setText(this.#button, text);
  }

  say(content, kind = "") {
    this.#message.replaceChildren(...(Array.isArray(content) ? content : [content]));
    this.#message.dataset.kind = kind;
  }

  async #submit() {
    if (this.#busy || this.#button.hasAttribute("aria-disabled")) return;
    this.#busy = true;
    this.#clear();
    try {
      this.say(await this.#action(this.#values()), "good");
    } catch (error) {
      this.#explain(error);
    } finally {
      this.#busy = false;
    }
  }

  #values() {
    const values = Object.fromEntries(new FormData(this.#form));
    for (const field of this.#form.querySelectorAll(".field")) {
      const value = (values[field.name] ?? "").trim();
      values[field.name] = field.type === "password" ? field.value : value;
      if (field.required && !value && !field.closest("[hidden]")) throw new Mistake(field.name, "Fill this in.");
    }
    return values;
  }

  #explain(error) {
    if (error instanceof Mistake) {
      this.#blame(error.field, error.message);
      this.say([make("strong", "", `${this.#labelOf(error.field)}: `), error.message], "bad");
      return;
    }
    if (!(error instanceof ApiError)) throw error;
    const [problem] = error.fields;
    if (problem) {
      for (const { field, message } of [...error.fields].reverse()) this.#blame(field, message);
      this.say([make("strong", "", `${this.#labelOf(problem.field)}: `), problem.message], "bad");
      return;
    }
    this.say(error.words ?? WORDS[error.code] ?? error.message, "bad");
    if (error.retryAfter !== null) this.#countDown(error.retryAfter);
  }

  // The button stays focusable and the seconds are on it: a live region would read each of them out.
  #countDown(seconds) {
    const until = performance.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left <= 0) {
        clearInterval(this.#timer);
        this.#button.removeAttribute("aria-disabled");
        setText(this.#button, this.#label);
        this.say("");
      } else {
        setText(this.#button, `Again in ${left} s`);
      }
    };
    clearInterval(this.#timer);
    this.#button.setAttribute("aria-disabled", "true");
    tick();
    this.#timer = setInterval(tick, 200);
  }

  #field = (name) => this.#form.querySelector(`.field[name="${CSS.escape(name)}"]`);

  #labelOf(name) {
    const field = this.#field(name);
    return field?.labels[0]?.firstChild.textContent.trim() ?? name;
  }

  #blame(name, words) {
    const field = this.#field(name);
    if (!field) return;
    let told = this.#message;
    // In a long form what is said at its end is out of sight.
    if (this.#form.classList.contains("long")) {
      told = make("p", "message at-field", words, { id: `${field.id}-message`, "data-kind": "bad" });
      field.after(told);
    }
    field.ariaInvalid = "true";
    field.setAttribute("aria-describedby", told.id);
    field.focus();
  }

  #clear() {
    this.say("");
    for (const told of this.#form.querySelectorAll(".at-field")) told.remove();
    for (const field of this.#form.querySelectorAll("[aria-invalid]")) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
  }
}

/** Fills a list of choices, keeping the present one. */
export function setOptions(select, names) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => make("option", "", name, { value: name })));
  if (names.includes(before)) select.value = before;
}
