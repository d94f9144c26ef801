// Finds a player by its id, on the board that is shown, and follows it live.

import { ApiError, call, playerPath } from "./api.js";
import { MAIN, placeOf } from "./boards.js";
import { Card } from "./card.js";
import { byId, isolated, make } from "./dom.js";
import { Feed } from "./feed.js";

const NEIGHBOURS = 2;

export class Player {
  #feed = null;
  #board = null;
  #region = "";
  #userId = "";
  #turn = 0;
  #awaited = false;
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

  /** Whether the player stands on the board that is shown, as far as is known. */
  get followed() {
    return this.#feed !== null;
  }

  /** Looks at another board or region; the player stays. */
  look(board, region) {
    this.#board = board;
    this.#region = region;
    if (this.#userId) this.follow(this.#userId);
  }

  /** Tells who is on the board now: a player without a score may have got one. */
  seen(rows) {
    if (this.#awaited && rows.some((row) => row.user_id === this.#userId)) this.follow(this.#userId);
  }

  /** Shows a player on the present board, and goes on showing it; `before` says that it has just been there. */
  async follow(userId, { before = false } = {}) {
    this.#feed?.close();
    this.#feed = null;
    if (userId !== this.#userId) this.#card.hide();
    this.#userId = userId;
    this.#card.speakAnew();
    byId("find-id").value = userId;
    const board = this.#board;
    const place = placeOf(board, this.#region);
    this.#awaited = false;
    this.#turn += 1;
    const turn = this.#turn;
    this.#say("");
    try {
      if (/^\.\.?$/.test(userId)) throw new ApiError(404, "user_not_found", ""); // no address can hold such an id
      await call("GET", playerPath("/rank", userId), { query: place });
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.status === 404 || error.status === 422) {
        await this.#notHere(error, userId, turn, before);
        return;
      }
      this.#say(error.message, "bad"); // the feed goes on trying
    }
    if (turn !== this.#turn) return;
    this.#onFollow(userId);
    this.#feed = new Feed(
      playerPath("/stream/rank", userId),
      { ...place, range: NEIGHBOURS, metadata: true },
      {
        onData: (kind, data) => this.#card.draw(data, board),
        onState: (state, message) => this.#state(state, message),
        onGone: () => this.#gone(),
        check: () => this.#stillThere(userId, place, turn),
      },
    );
  }

  /** Shows nobody any more. */
  leave() {
    this.#turn += 1;
    this.#feed?.close();
    this.#feed = null;
    this.#userId = "";
    this.#awaited = false;
    this.#card.hide();
    byId("find-id").value = "";
    this.#say("");
    this.#onFollow("");
  }

  async #notHere(error, userId, turn, before) {
    this.#card.hide();
    this.#onFollow("");
    if (error.code === "board_not_found") return; // the board itself says so, and leads elsewhere
    if (error.status === 422) {
      this.#say("A player ID has no spaces.", "bad");
      return;
    }
    const region = this.#region;
    const { home, code } = region === "GLOBAL" ? error : await this.#anywhere(userId);
    if (turn !== this.#turn) return;
    if (home) {
      const go = make("button", "link-button", `Show the ${home} board`, { type: "button" });
      go.addEventListener("click", () => this.#onRegion(home));
      this.#say([isolated(userId), ` plays in ${home}, not in ${region}. `, go]);
    } else if (code === "no_entry") {
      this.#awaited = true;
      this.#say([isolated(userId), ` has no score on this board ${before ? "any more" : "yet"}.`]);
    } else {
      if (before) this.#say([isolated(userId), " has left the leaderboard."]);
      else this.#say([isolated(userId), " is not a player here."], "bad");
      this.#userId = "";
    }
  }

  /** Asks for a player in no region: its `home` on the board, or the `code` of what is in the way. */
  async #anywhere(userId) {
    try {
      const query = { ...placeOf(this.#board, "GLOBAL"), range: 1 };
      return { home: (await call("GET", playerPath("/around", userId), { query })).self.region };
    } catch (error) {
      return error; // nobody knows the player, or nobody answers: either way it cannot be shown
    }
  }

  async #stillThere(userId, place, turn) {
    try {
      await call("GET", playerPath("/rank", userId), { query: place });
    } catch (error) {
      if (error.status !== 404 || turn !== this.#turn) return true;
      this.#gone();
      return false;
    }
    return true;
  }

  // The player, its score on this board, or the board: which of them, the next answer says.
  #gone() {
    const userId = this.#userId;
    if (this.#board.name !== MAIN) {
      this.follow(userId, { before: true });
      return;
    }
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
