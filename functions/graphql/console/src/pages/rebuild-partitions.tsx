import { graphql, type ResultOf } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { Status } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { numberOf } from "../ui/format.ts";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Table } from "../ui/table.tsx";
import { useUrl } from "../ui/use-url.ts";
import { leftOf } from "./rebuild.ts";

const PARTITIONS = graphql(`
  query RebuildPartitions(
    $name: String!
    $compared: Boolean
    $differing: Boolean
    $first: Int
    $after: String
    $last: Int
    $before: String
  ) {
    rebuildPartitionsConnection(
      name: $name
      compared: $compared
      differing: $differing
      first: $first
      after: $after
      last: $last
      before: $before
    ) {
      totalCount
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          id
          state
          streams
          done
          documentsPerSecond
          secondsLeft
          fold {
            documents
            digest
          }
          live {
            documents
            digest
            different
          }
          other {
            documents
            digest
            different
          }
          differences {
            generation
            collection
            key
            missing
            error
            fields {
              name
              expected
              found
            }
          }
        }
      }
    }
  }
`, [PAGE_INFO]);

type Partition = NonNullable<ResultOf<typeof PARTITIONS>["rebuildPartitionsConnection"]>["edges"][number]["node"];

const VIEWS = ["filling", "compared", "differing"] as const;
type View = (typeof VIEWS)[number];

const EVERY_MS = 2_500;

/** The partitions of a projection's last rebuild or comparison. Which are shown is in the address. */
export const Partitions = ({ name }: { name: string }) => {
  const t = useT();
  const [url, change] = useUrl();
  const shown = url.get("of") === name ? VIEWS.find((view) => view === url.get("view")) : undefined;
  const show = (view?: View) =>
    change({ of: view && name, view, after: undefined, before: undefined }, false);
  return (
    <div>
      <div className="row">
        {VIEWS.map((view) => (
          <Button key={view} pressed={shown === view} onClick={() => show(shown === view ? undefined : view)}>
            {t(`partitions.${view}`)}
          </Button>
        ))}
      </div>
      {shown && <Shown name={name} view={shown} />}
    </div>
  );
};

const Shown = ({ name, view }: { name: string; view: View }) => {
  const t = useT();
  const [url] = useUrl();
  const which = { name, compared: view === "compared", differing: view === "differing" };
  const asked = useAsk(PARTITIONS, { ...which, ...pageOf(url, 10) }, { every: EVERY_MS });
  return (
    <Paged
      asked={asked}
      of={({ rebuildPartitionsConnection }) => rebuildPartitionsConnection}
      empty={<p>{t("partitions.none")}</p>}
    >
      {(partitions) =>
        view === "differing" ? <Differences of={partitions} /> : <List of={partitions} compared={view === "compared"} />
      }
    </Paged>
  );
};

const List = ({ of, compared }: { of: readonly Partition[]; compared: boolean }) => {
  const t = useT();
  const number = (value: number | string) => numberOf(value, t.language);
  const side = (one: { documents: number | string; digest: string | null } | null) =>
    one && (
      <>
        {number(one.documents)} <code>{one.digest?.slice(0, 8)}</code>
      </>
    );
  const progress = [
    { name: t("partitions.rate"), number: true, cell: ({ documentsPerSecond: n }: Partition) => n && number(n) },
    {
      name: t("partitions.left"),
      number: true,
      cell: ({ secondsLeft }: Partition) => leftOf(secondsLeft, t.language),
    },
  ];
  const sides = [
    { name: t("comparison.fold"), cell: ({ fold }: Partition) => side(fold) },
    { name: t("comparison.live"), cell: ({ live }: Partition) => side(live) },
    { name: t("comparison.other"), cell: ({ other }: Partition) => side(other) },
  ];
  return (
    <Table
      caption={t(compared ? "partitions.compared" : "partitions.filling")}
      rows={of}
      keyOf={({ id }) => id}
      columns={[
        { name: t("partitions.partition"), cell: ({ id }) => <code>{id}</code> },
        { name: t("status"), cell: ({ state }) => <Status of={state} /> },
        {
          name: t("partitions.streams"),
          number: true,
          cell: ({ done, streams }) => `${number(done)} / ${number(streams)}`,
        },
        ...(compared ? sides : progress),
      ]}
    />
  );
};

const Differences = ({ of }: { of: readonly Partition[] }) => {
  const t = useT();
  const rows = of.flatMap(({ id, differences }) => differences.map((one) => ({ ...one, id })));
  return (
    <Table
      caption={t("partitions.differing")}
      rows={rows}
      keyOf={({ id, generation, collection, key }) => [id, generation, collection, key].join(" ")}
      columns={[
        {
          name: t("differences.generation"),
          cell: ({ generation }) => t(generation === "LIVE" ? "comparison.live" : "comparison.other"),
        },
        {
          name: t("differences.document"),
          cell: ({ collection, key }) => (
            <code className="break">
              {collection}/{key}
            </code>
          ),
        },
        {
          name: t("differences.fields"),
          cell: ({ missing, error, fields }) =>
            error ? <Reported text={error} /> : (missing ? t("differences.missing") : <Fields of={fields} />),
        },
      ]}
    />
  );
};

const Fields = ({ of }: { of: Partition["differences"][number]["fields"] }) => {
  const t = useT();
  return (
    <ul>
      {of.map(({ name, expected, found }) => (
        <li key={name} className="break">
          <code>{name}</code>{" "}
          {t("differences.values", { expected: expected ?? t("differences.nothing"), found: found ?? t("differences.nothing") })}
        </li>
      ))}
    </ul>
  );
};
