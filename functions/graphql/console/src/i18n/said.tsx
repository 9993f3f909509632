import { Fragment, type ReactNode } from "react";

import { Time } from "../ui/time.tsx";
import { useT } from "./index.tsx";
import { reported, type Said, spoken } from "./phrases.ts";

/** A sentence of the server's in the viewer's language and time zone; in English when its words are not known here. */
export const Sentence = ({ of, english }: { of: Said; english: string }): ReactNode => {
  const t = useT();
  const pieces = spoken(of, t.language);
  if (!pieces) return english;
  return pieces.map((piece, index) => (
    <Fragment key={index}>{"at" in piece ? <Time at={piece.at} brief /> : piece.text}</Fragment>
  ));
};

/** The text of an error: in the viewer's language when our own code wrote it, else as a quotation. */
export const Reported = ({ text }: { text: string }): ReactNode => {
  const t = useT();
  return reported(text, t.language) ?? <q className="break">{text}</q>;
};
