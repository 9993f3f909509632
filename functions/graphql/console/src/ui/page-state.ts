/**
 * Return what a page of a list shows. `nothing`: nothing matches at all. `emptied`: nothing is left on this page, but
 * there may be something on others.
 */
export const pageState = (rows: number, url: URLSearchParams): "nothing" | "emptied" | "rows" => {
  if (rows > 0) return "rows";
  return url.has("after") || url.has("before") ? "emptied" : "nothing";
};
