// Finds a player by its id, on the board that is shown, and follows it live.

import { ApiError, call, playerPath } from "./api.js";
import { Card } from "./card.js";
import { byId, isolated, make } from "./dom.js";
import { Feed } from "./feed.js";

const NEIGHBOURS = 2;

export class Player {
  #feed = null;
  #region = "";
  #userId = "";
  #turn = 0;
  #card = new Card(() => {
    this.leave();
    byId("find-id").focus();
  });
  #onFollow;
  #onRegion;

  /** `onFollow(userId)` is told whom it follows ("" for nobody), `onRegion(region)` that another board is wanted. */
  constructor({ onFollow, onRegion }) {
    this.#onFollow = onFollow;
    this.#onRegion = onRegion;
    byId("find").addEventListener("submit", (event) => {
      event.preventDefault();
      const userId = byId("find-id").value.trim();
      if (userId) this.follow(userId);
    });
  }

  get userId() {
    return this.#userId;
  }

  /** Looks at another board; the player stays. */
  board(region) {
    this.#region = region;
    if (this.#userId) this.follow(this.#userId);
  }

  /** Shows a player on the present board, and goes on showing it. */
  async follow(userId) {
    this.#feed?.close();
    this.#feed = null;
    if (userId !== this.#userId) this.#card.hide();
    this.#userId = userId;
    this.#card.speakAnew();
    byId("find-id").value = userId;
    const region = this.#region;
    this.#turn += 1;
    const turn = this.#turn;
    this.#say("");
    try {
      if (/^\.\.?$/.test(userId)) throw new ApiError(404, "user_not_found", ""); // no address can hold such an id
      await call("GET", playerPath("/rank", userId), { query: { region } });
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.status === 404 || error.status === 422) {
        await this.#notHere(error, userId, region, turn);
        return;
      }
      this.#say(error.message, "bad"); // the feed goes on trying
    }
    if (turn !== this.#turn) return;
    this.#onFollow(userId);
    this.#feed = new Feed(
      playerPath("/stream/rank", userId),
      { region, range: NEIGHBOURS },
      {
        onData: (kind, data) => this.#card.draw(data),
        onState: (state, message) => this.#state(state, message),
        onGone: () => this.#gone(),
        check: () => this.#stillThere(userId, region, turn),
      },
    );
  }

  /** Shows nobody any more. */
  leave() {
    this.#turn += 1;
    this.#feed?.close();
    this.#feed = null;
    this.#userId = "";
    this.#card.hide();
    byId("find-id").value = "";
    this.#say("");
    this.#onFollow("");
  }

  async #notHere(error, userId, region, turn) {
    this.#card.hide();
    this.#onFollow("");
    if (error.status === 422) {
      this.#say("A player ID has no spaces.", "bad");
      return;
    }
    const home = region === "GLOBAL" ? null : await this.#homeOf(userId);
    if (turn !== this.#turn) return;
    if (home === null) {
      this.#say([isolated(userId), " is not a player here."], "bad");
      this.#userId = "";
      return;
    }
    const go = make("button", "link-button", `Show the ${home} board`, { type: "button" });
    go.addEventListener("click", () => this.#onRegion(home));
    this.#say([isolated(userId), ` plays in ${home}, not in ${region}. `, go]);
  }

  async #homeOf(userId) {
    try {
      const found = await call("GET", playerPath("/around", userId), { query: { region: "GLOBAL", range: 1 } });
      return found.self.region;
    } catch {
      return null; // nobody knows the player, or nobody answers: either way it cannot be shown
    }
  }

  async #stillThere(userId, region, turn) {
    try {
      await call("GET", playerPath("/rank", userId), { query: { region } });
    } catch (error) {
      if (error.status !== 404 || turn !== this.#turn) return true;
      this.#gone();
      return false;
    }
    return true;
  }

  #gone() {
    const userId = this.#userId;
    this.leave();
    this.#say([isolated(userId), " has left the leaderboard."]);
  }

  #state(state, message) {
    this.#card.stale = state === "reconnecting" || state === "unavailable";
    if (state === "live") this.#say("");
    else if (state === "unavailable") this.#say(message, "bad");
  }

  #say(content, kind = "") {
    const message = byId("find-message");
    message.replaceChildren(...(typeof content === "string" ? [content] : content));
    message.dataset.kind = kind;
  }
}
