// Scores as they are shown and typed: a board's definition says how many of their digits stand behind a point.

import { closed, whole } from "./dom.js";
import { Mistake } from "./forms.js";

/** A score as it is to be shown, of a board with so many decimals. */
export function scoreText(score, decimals) {
  if (decimals === 0) return whole(score);
  const digits = String(Math.abs(score)).padStart(decimals + 1, "0");
  return `${score < 0 ? "-" : ""}${whole(Number(digits.slice(0, -decimals)))}.${digits.slice(-decimals)}`;
}

/** The score of a row, which says by itself how it is to be shown where the board has decimals. */
export const scoreOf = ({ score, score_text: text = "" }) => scoreText(score, text.length - 1 - text.lastIndexOf("."));

/** What was sent with a row's score, in one line of text, "" for nothing: `car T 7 · laps 3`. */
export function metadataText({ metadata }) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.entries(metadata ?? {})
    .map(([name, value]) => closed(`${name} ${text(value)}`))
    .join(" · ");
}

/** A whole number as somebody types it ("1,200", "-5"), for the field of that name. Throws Mistake. */
export function wholeNumber(text, field) {
  const plain = text.replace(/[\s,_']/g, "").replace("−", "-");
  const number = Number(plain);
  if (!/^[+-]?\d+$/.test(plain) || !Number.isSafeInteger(number)) {
    throw new Mistake(field, "A whole number between ±9,007,199,254,740,991, please.");
  }
  return number;
}

/** A score as somebody types it ("71.35" is 71350 where there are three decimals). Throws Mistake. */
export function scoreNumber(text, field, decimals) {
  if (decimals === 0 || !/\d/.test(text)) return wholeNumber(text, field);
  const [before, behind = "", ...more] = text.trim().split(".");
  if (more.length > 0 || !/^\d*$/.test(behind) || behind.length > decimals) {
    throw new Mistake(field, `At most ${decimals} digits behind the point, please.`);
  }
  return wholeNumber(before + behind.padEnd(decimals, "0"), field);
}
