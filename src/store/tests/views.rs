//! The views for people who write SQL: their columns are stable, and in PostgreSQL of types that people read.

use super::super::{Dialect, sql::Sql};
use super::{Test, on_both};

/// Each view with its columns in their order, and their types in PostgreSQL. A column may be added at the end; nothing else
/// may change.
const VIEWS: [(&str, &str); 5] = [
    (
        "v_attempt",
        "call_id text, receipt_id text, purpose text, client text, batch text, case_reference text, case_id bigint, agent text, \
         team text, bucket text, relation text, number_kind text, trunk text, caller_id text, zone text, local_date date, \
         local_hour bigint, started_at timestamptz, seized_at timestamptz, rang_at timestamptz, answered_at timestamptz, \
         ended_at timestamptz, cause text, fault_of text, sip_status bigint, q850 bigint, ended_by text, connected boolean, \
         lost_ours boolean, talk_s numeric, disposition text, right_party boolean, first_call boolean",
    ),
    (
        "v_connect_rate_hourly",
        "dimension text, value text, label text, local_date date, local_hour bigint, attempts bigint, lost_ours bigint, \
         seizures bigint, connected bigint, right_party bigint, connect_rate numeric, raw_rate numeric, asr numeric, \
         ner numeric, rpc_rate numeric, talk_s numeric",
    ),
    (
        "v_connect_rate_daily",
        "dimension text, value text, label text, local_date date, attempts bigint, lost_ours bigint, seizures bigint, \
         connected bigint, right_party bigint, connect_rate numeric, raw_rate numeric, asr numeric, ner numeric, \
         rpc_rate numeric, talk_s numeric, sealed_at timestamptz, corrections bigint",
    ),
    (
        "v_case",
        "case_id bigint, client text, batch text, reference text, state text, reason text, currency text, placed numeric, \
         balance numeric, repaid numeric, overdue_days bigint, bucket text, region text, mark text, team text, agent text, \
         revealed_at timestamptz, allocated_at timestamptz, worked_at timestamptz, called_at timestamptz, \
         followed_at timestamptz",
    ),
    (
        "v_refusal",
        "receipt_id text, refused_at timestamptz, client text, case_id bigint, agent text, reasons text",
    ),
];

on_both! {
    async fn the_views_have_the_columns_that_are_promised_in_types_that_people_read(test: Test) {
        let mut tx = test.db.read().await.unwrap();
        let (all, columns) = match tx.dialect() {
            Dialect::Sqlite => (
                "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name",
                "SELECT name, '' AS type FROM pragma_table_info($1) ORDER BY cid",
            ),
            Dialect::Postgres => (
                "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.views WHERE table_schema = 'public' ORDER BY 1",
                "SELECT CAST(column_name AS TEXT) AS name, CAST(udt_name AS TEXT) AS type FROM information_schema.columns
                 WHERE table_name = $1 ORDER BY ordinal_position",
            ),
        };
        let rows = tx.fetch_all(&Sql { act: "list the views", text: all }, vec![]).await.unwrap();
        let mut promised: Vec<_> = VIEWS.iter().map(|(view, _)| (*view).to_owned()).collect();
        promised.sort();
        assert_eq!(rows.iter().map(|row| row.get::<String>("name").unwrap()).collect::<Vec<_>>(), promised);
        for (view, wanted) in VIEWS {
            let sql = Sql { act: "list the columns of a view", text: columns };
            let rows = tx.fetch_all(&sql, args![view]).await.unwrap();
            let found: Vec<_> = rows.iter().map(|row| {
                let (name, kind): (String, String) = (row.get("name").unwrap(), row.get("type").unwrap());
                // By the names that PostgreSQL shows people.
                let kind = match kind.as_str() {
                    "int8" => "bigint",
                    "bool" => "boolean",
                    other => other,
                };
                format!("{name} {kind}").trim_end().to_owned()
            }).collect();
            let wanted: Vec<_> = wanted.split(", ").map(|column| match tx.dialect() {
                Dialect::Postgres => column.to_owned(),
                Dialect::Sqlite => column.split(' ').next().unwrap().to_owned(),
            }).collect();
            assert_eq!(found, wanted, "{view}");
        }
    }
}
