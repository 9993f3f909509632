import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Changes } from "../../ui/changes.tsx";
import { Json } from "../../ui/json.tsx";
import type { HistoryEntry } from "../logged-event.ts";
import { endOf } from "./lanes.ts";
import { exact } from "./moments.ts";
import { COMMANDS, type Entry, PRODUCT_CHANGE, PRODUCT_EVENT, type SagaData } from "./query.ts";

/** A command's execution is recorded at the entry's end, of which a Date has cut up to a millisecond. */
const CUT_MS = 1;

type Props = { entry: Entry; history: readonly HistoryEntry[]; saga: SagaData | null };

/** What an entry of the timeline carried, and what it changed, as far as the shop keeps it. */
export const Content = ({ entry, history, saga }: Props) => {
  const { kind, name, at, subject } = entry;
  const [aggregate, id] = /^(\w+)-(.+)$/.exec(subject ?? "")?.slice(1) ?? [];
  if (kind === "EVENT" && aggregate === "product" && id) return <ProductEvent id={id} type={name} at={at} />;
  if (kind === "EVENT") {
    const found = history.find(({ event }) => event.eventType === name && exact(event.insertedAt) === at);
    return found && <Change data={found.event.eventData} changes={found.changes} />;
  }
  if (kind === "SAGA") {
    const sent = saga?.commandsDispatched?.find((one) => one.commandType === name && one.timestamp === at);
    return sent && <Payload data={sent.commandData} />;
  }
  return kind === "COMMAND" && <ClientCommand entry={entry} order={id} />;
};

const Payload = ({ data }: { data: unknown }) => {
  const t = useT();
  return (
    <>
      <h3>{t("detail.payload")}</h3>
      <Json value={data} />
    </>
  );
};

const Change = ({ data, changes }: { data: unknown; changes: HistoryEntry["changes"] }) => (
  <>
    <Changes changes={changes} />
    <Payload data={data} />
  </>
);

/** An event of a product: its version is found by its time, then what it changed by its version. */
const ProductEvent = ({ id, type, at }: { id: string; type: string; at: string }) => {
  const t = useT();
  const asked = useAsk(PRODUCT_EVENT, { id, type, at });
  const found = asked.data?.eventsConnection?.edges[0]?.node;
  const version = found && exact(found.insertedAt) === at ? found.eventVersion : undefined;
  return (
    <Answer asked={asked}>
      {() =>
        version === undefined ? (
          <p className="note">{t("detail.notKept")}</p>
        ) : (
          <ProductChange id={id} version={version} />
        )
      }
    </Answer>
  );
};

const ProductChange = ({ id, version }: { id: string; version: number }) => {
  const asked = useAsk(PRODUCT_CHANGE, { id, after: version - 1 });
  return (
    <Answer asked={asked}>
      {({ eventHistory }) =>
        eventHistory?.map(({ event, changes }) => <Change key={version} data={event.eventData} changes={changes} />)
      }
    </Answer>
  );
};

const ClientCommand = ({ entry, order }: { entry: Entry; order: string | undefined }) => {
  const t = useT();
  const to = new Date(endOf(entry) + CUT_MS).toISOString();
  const asked = useAsk(COMMANDS, { name: entry.name, from: entry.at, to });
  return (
    <Answer asked={asked}>
      {({ commandExecutionsConnection: executions }) => {
        const found = executions?.edges
          .map(({ node }) => node)
          .find((one) => (entry.id ? one.id === entry.id : one.aggregateId === order));
        if (!found) return <p className="note">{t("detail.notKept")}</p>;
        return (
          <>
            {found.eventsGenerated && found.eventsGenerated.length > 0 && (
              <p>{t("detail.recorded", { events: found.eventsGenerated.join(", ") })}</p>
            )}
            {found.commandData === null ? (
              <p className="note">{t("detail.noContent")}</p>
            ) : (
              <Payload data={found.commandData} />
            )}
          </>
        );
      }}
    </Answer>
  );
};
