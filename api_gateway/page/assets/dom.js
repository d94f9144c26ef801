// Small helpers over the document. Whatever a player chose is put in as text; nothing here takes markup.

import { make } from "./make.js";

export { make };

export const byId = (id) => document.getElementById(id);

/** A player's own words, kept from turning the text around them: names come in every script. */
export const isolated = (text) => make("bdi", "", text, { dir: "auto" });

/** The same inside a text without elements, by the characters that mean it. */
export const closed = (text) => `\u2068${text}\u2069`;

/** Writes only what differs, so that nothing is painted, selected or read out anew without need. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const WHOLE = new Intl.NumberFormat("en");
export const whole = (number) => WHOLE.format(number);
export const counted = (number, one, many) => `${whole(number)} ${number === 1 ? one : many}`;

/** A time span in a few characters: "0.4 s", "12 s", "3 min", "2 h". */
export function span(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

let waiting = 0;
/** Says something to screen readers, politely; of several things at once the last one counts. */
export function announce(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => setText(byId("announcer"), text), 200);
}

/** A small memory of this browser; `kind` is "localStorage" or "sessionStorage". Does nothing where there is none. */
export function storage(kind, key) {
  return {
    read() {
      try {
        return JSON.parse(globalThis[kind].getItem(key));
      } catch {
        return null;
      }
    },
    write(value) {
      try {
        if (value === null) globalThis[kind].removeItem(key);
        else globalThis[kind].setItem(key, JSON.stringify(value));
      } catch {
        // Storage is switched off or full: the page works without a memory.
      }
    },
  };
}
