// A board as data: what events do to it, without any document.

/**
 * The board after an event, given the one before. A snapshot replaces everything; a change brings the rows that are
 * new or differ, and names those that left. Positions are 1-based places in board order.
 */
export function afterEvent(board, kind, data) {
  const { region, total, source } = data;
  if (kind === "snapshot") return { region, total, source, rows: inOrder(data.rows) };
  const rows = new Map(board.rows.map((row) => [row.user_id, row]));
  for (const userId of data.removed ?? []) rows.delete(userId);
  for (const row of data.rows) rows.set(row.user_id, row);
  return { region, total, source, rows: inOrder([...rows.values()]) };
}

/** A score next to the best one, 0 to 1, for a bar; the best one's is the longest, whether high or low is good. */
export function shareOf(score, best, order) {
  if (order === "asc" && best >= 0) return score > 0 ? best / score : 1;
  // What is on the wrong side of zero has no length.
  return order === "asc" || best > 0 ? Math.min(Math.max(score / best, 0), 1) : 0;
}

const inOrder = (rows) => [...rows].sort((one, other) => one.position - other.position);
