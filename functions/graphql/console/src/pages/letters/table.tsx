
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Status } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { shortId } from "../../ui/format.ts";
import { Table } from "../../ui/table.tsx";
import { Ago } from "../../ui/time.tsx";
import type { ListedLetter } from "./query.ts";
import { OrderLink } from "../order-link.tsx";

type Props = {
  letters: readonly ListedLetter[];
  selected: ReadonlySet<string>;
  select: (ids: ReadonlySet<string>) => void;
  open: (id: string) => void;
};

export const LetterTable = ({ letters, selected, select, open }: Props) => {
  const t = useT();
  const toggle = (id: string, on: boolean) => {
    const next = new Set(selected);
    if (on) next.add(id);
    else next.delete(id);
    select(next);
  };
  return (
    <Table
      caption={t("nav.deadLetters")}
      rows={letters}
      keyOf={({ id }) => id}
      columns={[
        {
          name: t("letters.select"),
          cell: ({ id, type }) => (
            <input
              type="checkbox"
              aria-label={`${t("letters.select")} ${type ?? ""} ${id}`}
              checked={selected.has(id)}
              onChange={(event) => toggle(id, event.target.checked)}
            />
          ),
        },
        { name: t("messages.type"), cell: ({ id, type }) => <Button onClick={() => open(id)}>{type ?? id}</Button> },
        { name: t("status"), cell: ({ status }) => <Status of={status} /> },
        { name: t("letters.source"), cell: ({ source }) => <code>{source}</code> },
        {
          name: t("letters.subject"),
          cell: ({ orderId, subject }) =>
            orderId ? <OrderLink id={orderId} /> : <code>{shortId(subject ?? "")}</code>,
        },
        { name: t("error"), cell: ({ error }) => error && <Reported text={error} /> },
        { name: t("sagas.attempts"), number: true, cell: ({ attempts }) => attempts },
        { name: t("letters.recorded"), cell: ({ recordedAt }) => <Ago at={recordedAt} /> },
      ]}
    />
  );
};
