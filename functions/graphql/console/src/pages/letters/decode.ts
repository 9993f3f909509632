/** Return a message's data, which is Base64, as JSON where it is JSON, and otherwise as text. */
export const decoded = (data: string): unknown => {
  let text: string;
  try {
    text = new TextDecoder().decode(Uint8Array.from(atob(data), (character) => character.charCodeAt(0)));
  } catch {
    return data;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
};
