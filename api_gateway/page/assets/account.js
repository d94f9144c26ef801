// Becoming a player and sending scores: register or sign in, then add to the score or set it.

import { ApiError, call } from "./api.js";
import { MAIN } from "./boards.js";
import { byId, isolated, make, setText, storage } from "./dom.js";
import { Form, Mistake, setOptions } from "./forms.js";
import { scoreNumber, scoreText } from "./scores.js";

// The token lasts as long as this tab: a shared computer forgets it.
const memory = storage("sessionStorage", "leaderboard.me");

const LABELS = { add: "Points to add", set: "New score", best: "Submit a score" };
const SENT_BY = { server: "Scores of this board are sent by the game itself." };
const SECRET = /^[0-9a-f]{32}$/;

export class Account {
  #me = null;
  #enter;
  #score;
  #onPlayer;
  #board = null;
  #main = null;

  /** `onPlayer(userId, region)` is called when somebody entered or sent a score. */
  constructor(onPlayer) {
    this.#onPlayer = onPlayer;
    this.#enter = new Form(byId("enter"), (values) => this.#go(values));
    this.#score = new Form(byId("submit"), (values) => this.#send(values));
    byId("enter").addEventListener("change", () => this.#showWay());
    byId("submit").addEventListener("change", () => this.#showMode());
    byId("leave").addEventListener("click", () => {
      this.#show(null);
      byId("enter-id").focus();
    });
    this.#show(memory.read());
    this.#showWay();
  }

  /** The regions that a new player may choose from. */
  set regions(names) {
    setOptions(byId("enter-region"), names);
  }

  /** Proposes the board that is looked at; everybody is on GLOBAL anyway. */
  set region(name) {
    if (name !== "GLOBAL") byId("enter-region").value = name;
  }

  /** Sends scores to this board from now on; who registers begins on `main`. */
  look(board, main) {
    const again = board.name === this.#board?.name;
    this.#board = board;
    this.#main = main;
    if (!again) this.#score.say("");
    this.#showMode();
  }

  async #go({ way, ...values }) {
    checkId(values.user_id);
    if (values.password && [...values.password].length < 8) throw new Mistake("password", "At least 8 characters.");
    const body = { user_id: values.user_id, name: values.name };
    let secret;
    if (way === "login") {
      if (values.password) body[SECRET.test(values.password) ? "secret" : "password"] = values.password;
      if (!body.name) delete body.name;
      const { token, user } = await call("POST", "/auth/login", { body });
      this.#show({ user_id: user.user_id, name: user.name, region: user.region, token });
    } else {
      if (values.password) body.password = values.password;
      body.region = values.region;
      body.initialScore = scoreNumber(values.initialScore, "initialScore", this.#main.rules.decimals);
      const { secret: told, ...me } = await this.#register(body);
      secret = told;
      this.#show(me);
    }
    byId("enter-password").value = "";
    byId("submit-amount").focus();
    this.#onPlayer(this.#me.user_id, this.#me.region);
    const done = [isolated(this.#me.name), way === "login" ? " is signed in." : ` is on the ${this.#me.region} board.`];
    if (secret) done.push(" Keep this secret, it signs you in again: ", make("code", "secret", secret));
    this.#score.say(done, "good");
    return "";
  }

  async #register(body) {
    try {
      const { user, token, secret } = await call("POST", "/auth/register", { body });
      return { user_id: user.user_id, name: user.name, region: user.region, token, secret };
    } catch (error) {
      if (error.code === "user_exists") error.words = this.#taken();
      throw error;
    }
  }

  #taken() {
    const change = make("button", "link-button", "Sign in instead", { type: "button" });
    change.addEventListener("click", () => {
      byId("enter").elements.way.value = "login";
      this.#showWay();
      this.#enter.say("");
      byId("enter-id").focus();
    });
    return ["This player ID is taken. ", change];
  }

  async #send({ amount }) {
    const board = this.#board;
    const { operator, decimals } = board.rules;
    const number = scoreNumber(amount, "amount", decimals);
    const place = board.name === MAIN ? {} : { board: board.name };
    const adds = this.#mode() === "add";
    const [path, body] = adds ? ["/score/add", { delta: number }] : ["/score/update", { score: number }];
    const me = this.#me;
    let written;
    try {
      written = await call("POST", path, { body: { ...place, ...body }, token: me.token, once: true });
    } catch (error) {
      if (error instanceof ApiError && error.code === "invalid_token") {
        this.#show(null);
        byId("enter").elements.way.value = "login";
        this.#showWay();
        this.#enter.say("Your sign-in has expired. Sign in again.", "bad");
        byId("enter-id").focus();
        return "";
      }
      throw error;
    }
    this.#onPlayer(me.user_id, me.region);
    const { score, improved } = written;
    const kept = operator === "best" && improved === false;
    const judged = { true: " Improved.", false: " Not improved." }[improved] ?? "";
    return [isolated(me.name), ` ${kept ? "still" : "now"} has ${scoreText(score, decimals)}.${judged}`];
  }

  #show(me) {
    this.#me = me;
    memory.write(me);
    byId("enter").hidden = me !== null;
    byId("submit").hidden = me === null;
    this.#score.say("");
    if (me === null) return;
    setText(byId("me-name"), me.name);
    setText(byId("me-region"), me.region);
  }

  #showWay() {
    const login = byId("enter").elements.way.value === "login";
    byId("enter").querySelector(".for-new").hidden = login;
    byId("enter-name").required = !login;
    setText(byId("password-label"), login ? "Password or secret" : "Password");
    byId("enter-password").autocomplete = login ? "current-password" : "new-password";
    this.#enter.label = login ? "Sign in" : "Register";
  }

  #mode() {
    const { operator } = this.#board.rules;
    return { best: "best", sum: "add" }[operator] ?? byId("submit").elements.mode.value;
  }

  #showMode() {
    if (this.#board === null) return;
    const { operator, decimals, open, submit } = this.#board.rules;
    const choice = operator === "latest";
    const refused = !open ? "This board is closed: it takes no scores." : SENT_BY[submit];
    setText(byId("submit-note"), refused ?? "");
    byId("submit-mode").hidden = !choice || refused !== undefined;
    byId("submit-fields").hidden = refused !== undefined;
    setText(byId("amount-label"), LABELS[this.#mode()]);
    byId("amount-label").className = choice ? "for-readers" : "label";
    byId("submit-amount").inputMode = decimals > 0 ? "decimal" : "numeric";
  }
}

function checkId(userId) {
  if (/[\s/]/.test(userId)) throw new Mistake("user_id", "No spaces and no slash, please.");
}
