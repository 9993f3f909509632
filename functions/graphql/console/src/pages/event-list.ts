/** The list of events as a page keeps it while the log goes on. */

type Numbered = { id: number };

/**
 * `rows`: the newest first. `next`: the cursor of the last row; none at the end of the log. `gap`: the number of the
 * newest row when the live stream began at the present (0: there was none). Events behind it may be missing until the
 * newest page has been read.
 */
export type EventList<Row> = { rows: readonly Row[]; next?: string; gap?: number };

/** The newest that a tab keeps. */
export const KEPT = 100_000;

export const EMPTY: EventList<never> = { rows: [] };

/** Return the index of the first row whose number is at most `id`. */
const indexAt = (rows: readonly Numbered[], id: number): number => {
  let [from, to] = [0, rows.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((rows[middle]?.id ?? 0) > id) from = middle + 1;
    else to = middle;
  }
  return from;
};

/** Return the row with the number, if it is listed. */
export const rowOf = <Row extends Numbered>(rows: readonly Row[], id: number): Row | undefined => {
  const row = rows[indexAt(rows, id)];
  return row?.id === id ? row : undefined;
};

const newestFirst = (one: Numbered, other: Numbered): number => other.id - one.id;

/** Return all rows, each once. Of the list only the part between the newest and the oldest added row is looked at. */
const merged = <Row extends Numbered>(rows: readonly Row[], added: readonly Row[]): readonly Row[] => {
  const sorted = [...added].sort(newestFirst);
  const [newest, oldest] = [sorted[0], sorted.at(-1)];
  if (!newest || !oldest) return rows;
  const [from, to] = [indexAt(rows, newest.id), indexAt(rows, oldest.id - 1)];
  const between = new Map([...rows.slice(from, to), ...sorted].map((row) => [row.id, row]));
  return rows.slice(0, from).concat([...between.values()].sort(newestFirst), rows.slice(to));
};

/** Return the list with the newest KEPT rows. A full list reads no older ones: it has no room for them. */
const within = <Row>(list: EventList<Row>): EventList<Row> =>
  list.rows.length > KEPT ? { ...list, rows: list.rows.slice(0, KEPT), next: undefined } : list;

/** Return the list with events of the live stream. */
export const withLive = <Row extends Numbered>(list: EventList<Row>, events: readonly Row[]): EventList<Row> =>
  within({ ...list, rows: merged(list.rows, events) });

/** Return the list when the live stream begins at the present. */
export const withGap = <Row extends Numbered>(list: EventList<Row>): EventList<Row> => ({
  ...list,
  gap: list.gap ?? list.rows[0]?.id ?? 0,
});

/**
 * Return the list with the newest page of the log, which must have been asked for after the stream began. If the page
 * does not reach down to the gap, it replaces the rows from before the gap, and the list reads on behind the page.
 */
export const withNewest = <Row extends Numbered>(
  list: EventList<Row>,
  page: readonly Row[],
  next: string | undefined,
): EventList<Row> => {
  const { rows, gap = rows[0]?.id ?? 0 } = list;
  // A log that now ends before the gap was restored from a backup.
  const goesOn = page.some(({ id }) => id >= gap);
  const meets = page.some(({ id }) => id <= gap && rowOf(rows, id));
  if (goesOn && meets) {
    return within({ rows: merged(rows, page), next: list.next });
  }
  return within({ rows: merged(rows.slice(0, indexAt(rows, gap)), page), next });
};

/** Return the list with the page behind its last row. */
export const withOlder = <Row extends Numbered>(
  list: EventList<Row>,
  page: readonly Row[],
  next: string | undefined,
): EventList<Row> => within({ ...list, rows: merged(list.rows, page), next });
