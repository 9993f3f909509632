const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/i;

/** Return the moment that an address gives, as the API takes it; null when it gives none that can be read. */
export const momentIn = (given: string | null): string | null =>
  given !== null && MOMENT.test(given) && !Number.isNaN(Date.parse(given)) ? given : null;

/** Return the moment a millisecond before one that an address gives; null when it gives none that can be read. */
export const justBefore = (given: string | null): string | null => {
  const moment = momentIn(given);
  return moment && new Date(Date.parse(moment) - 1).toISOString();
};

/** Return a moment as an input for times in the viewer's zone takes it. */
export const localOf = (at: string): string => {
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

/** Return what was typed into such an input, in UTC; undefined when it is no moment. */
export const utcOf = (typed: string): string | undefined => {
  const moment = new Date(typed);
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString();
};
