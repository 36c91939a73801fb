//! Keys of a route that would mean nothing beside others: told, never ignored.

use super::SinkKind;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};

/// What a message has not, and what is about it.
const OF_ROWS: [(&str, &str); 9] = [
    ("on", "a message is no operation on a row"),
    ("mapping", "a message has no columns"),
    ("key", "a message has no columns"),
    ("on_delete", "messages are not deleted"),
    ("where", "a message has no columns"),
    ("on_where_error", "a message has no columns"),
    ("on_leave", "messages are not updated"),
    ("columns_changed", "messages are not updated"),
    ("on_schema_change", "a message is of no table"),
];

/// What the rows of an outbox are not asked for.
const NOT_OF_OUTBOXES: [(&str, &str); 5] = [
    ("mapping", "an outbox sends its payload as it is"),
    ("key", "the key of an outbox is its aggregate_id"),
    ("on_delete", "deletes of an outbox are never sent"),
    ("on_leave", "updates of an outbox are never sent"),
    ("columns_changed", "updates of an outbox are never sent"),
];

/// What these keys are unless they are set: to say so does no harm anywhere.
const DEFAULTS: [(&str, &str); 4] = [
    ("on_delete", "send"),
    ("on_where_error", "send"),
    ("on_leave", "skip"),
    ("on_schema_change", "continue"),
];

/// Whether a key is set to something else than it is anyway.
fn acts(route: &Table, name: &str) -> bool {
    let default = DEFAULTS.iter().find(|(key, _)| *key == name).map(|(_, default)| *default);
    route.given(name) && (default.is_none() || route.text(name) != default)
}

/// Notes the keys of a route that mean nothing where they stand.
pub(super) fn check(tree: &Table, route: &Table, notes: &mut Notes<'_>) {
    if route.given("message") {
        beside(route, "message", &OF_ROWS, notes);
    } else {
        if route.given("outbox") {
            beside(route, "outbox", &NOT_OF_OUTBOXES, notes);
        }
        needs_where(route, notes);
        needs_operations(route, notes);
        can_hold(tree, route, notes);
    }
    if route.text("start") == Some("journal") && !has_journal(tree) {
        let message =
            "start = \"journal\" needs a journal; raise journal.max_size or write \"now\"";
        notes.problem(&route.span("start"), message);
    }
}

fn beside(route: &Table, other: &str, keys: &[(&str, &str)], notes: &mut Notes<'_>) {
    for (name, why) in keys.iter().filter(|(name, _)| acts(route, name)) {
        let message = format!("\"{name}\" means nothing beside \"{other}\": {why}; drop it");
        notes.problem(&route.span(name), message);
    }
}

/// What is about `where` means nothing without it.
fn needs_where(route: &Table, notes: &mut Notes<'_>) {
    for name in ["on_where_error", "on_leave"] {
        if acts(route, name) && !route.given("where") {
            let message = format!("\"{name}\" needs \"where\"; add one, or drop it");
            notes.problem(&route.span(name), message);
        }
    }
}

/// What is about an operation means nothing where `on` leaves that out.
fn needs_operations(route: &Table, notes: &mut Notes<'_>) {
    let words: Vec<&str> = route.list("on").iter().filter_map(Entry::text).collect();
    // An empty one is a problem of its own, as is one that was wrong.
    if words.is_empty() {
        return;
    }
    let takes = |word: &str| words.contains(&word);
    if route.given("outbox") && !takes("insert") {
        let message = "\"on\" leaves out insert, and an outbox sends nothing else; add \
                       \"insert\", or drop \"on\"";
        notes.problem(&route.span("on"), message);
    }
    // Its fields are also those of an update that leaves; and to ignore what is left out is no
    // contradiction.
    let is_fine = match route.table("on_delete") {
        Some(_) => route.text("on_leave") == Some("delete"),
        None => route.text("on_delete") == Some("ignore"),
    };
    for (name, operation, means) in [
        ("on_delete", "delete", is_fine),
        ("on_leave", "update", false),
        ("columns_changed", "update", false),
    ] {
        if acts(route, name) && !route.given("outbox") && !takes(operation) && !means {
            let message =
                format!("\"{name}\" means nothing where \"on\" leaves out {operation}; drop it");
            notes.problem(&route.span(name), message);
        }
    }
}

/// Events are held as references into the journal, by whoever sends them.
fn can_hold(tree: &Table, route: &Table, notes: &mut Notes<'_>) {
    if route.text("on_schema_change") != Some("hold") {
        return;
    }
    let is_it = |entry: &&Entry| route.text("sink") == Some(entry.name.as_str());
    let sink = tree.named("sink").iter().find(is_it).and_then(Entry::table);
    let message = if !has_journal(tree) {
        "on_schema_change = \"hold\" needs a journal; raise journal.max_size or write \"continue\""
    } else if sink.is_some_and(|sink| sink.given(SinkKind::POLL)) {
        "on_schema_change = \"hold\" is not for poll, where nothing is sent; write \"continue\""
    } else {
        return;
    };
    notes.problem(&route.span("on_schema_change"), message.to_owned());
}

fn has_journal(tree: &Table) -> bool {
    tree.table("journal").and_then(|journal| journal.size("max_size")) != Some(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, parse};

    /// What is wrong with a route of these keys, without places.
    fn problems(top: &str, route: &str) -> Vec<String> {
        let text = format!(
            "[source]\nurl = \"postgres://h/d\"\n{top}\n[mapping.m]\nversion = 1\n\
             [mapping.m.fields]\nid = {{ column = \"id\" }}\n[sink.s.stdout]\n\
             [[route]]\nname = \"r\"\nsink = \"s\"\n{route}\n"
        );
        let environment = Environment { variable: &|_| None, folder: Path::new(".") };
        match parse("f", &text, &environment) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.into_iter().map(|problem| problem.message).collect(),
        }
    }

    #[track_caller]
    fn check(route: &str, expected: &[&str]) {
        assert_eq!(problems("", route), expected, "{route}");
    }

    #[test]
    fn what_is_about_rows_means_nothing_beside_messages_with_an_outbox_or_without() {
        for outbox in ["", "outbox = {}\n"] {
            for (key, why) in [
                ("on = [\"insert\"]", "a message is no operation on a row"),
                ("mapping = \"m\"", "a message has no columns"),
                ("key = [\"id\"]", "a message has no columns"),
                ("on_delete = \"ignore\"", "messages are not deleted"),
                ("where = 'true'", "a message has no columns"),
                ("on_where_error = \"skip\"", "a message has no columns"),
                ("on_leave = \"delete\"", "messages are not updated"),
                ("columns_changed = [\"id\"]", "messages are not updated"),
                ("on_schema_change = \"hold\"", "a message is of no table"),
            ] {
                let name = key.split_once(" =").unwrap().0;
                let told = format!("\"{name}\" means nothing beside \"message\": {why}; drop it");
                check(&format!("message = \"p\"\n{outbox}{key}"), &[&told]);
            }
            check(&format!("message = \"p\"\n{outbox}start = \"load\""), &[]);
            check(&format!("message = \"p\"\n{outbox}start = \"journal\""), &[]);
            check(&format!("message = \"p\"\n{outbox}start = \"now\""), &[]);
            for (key, default) in super::DEFAULTS {
                check(&format!("message = \"p\"\n{outbox}{key} = \"{default}\""), &[]);
            }
        }
    }

    #[test]
    fn an_outbox_without_inserts_sends_nothing() {
        let told = "\"on\" leaves out insert, and an outbox sends nothing else; add \"insert\", \
                    or drop \"on\"";
        check("table = \"public.o\"\noutbox = {}\non = [\"read\", \"update\"]", &[told]);
        check("table = \"public.o\"\noutbox = {}\non = [\"insert\"]\nwhere = 'row.id > 1'", &[]);
    }

    #[test]
    fn a_key_about_an_operation_needs_that_operation() {
        let of = |name: &str, operation: &str| {
            format!("\"{name}\" means nothing where \"on\" leaves out {operation}; drop it")
        };
        let t = |keys: &str| format!("table = \"public.t\"\n{keys}");
        let set = "on_delete = { set = { gone = true } }\n";
        check(&t(&format!("on = [\"insert\"]\n{set}")), &[&of("on_delete", "delete")]);
        check(
            &t("on = [\"insert\", \"delete\"]\ncolumns_changed = [\"a\"]\n\
                where = 'row.a > 1'\non_leave = \"delete\""),
            &[&of("columns_changed", "update"), &of("on_leave", "update")],
        );
        // An update that leaves is sent with these fields too.
        let leaves = "on = [\"insert\", \"update\"]\nwhere = 'row.a > 1'\non_leave = \"delete\"\n";
        check(&t(&format!("{leaves}{set}")), &[]);
        check(&t("on = [\"insert\", \"update\"]\non_delete = \"ignore\""), &[]);
        check(&t("on = [\"insert\"]\non_delete = \"send\"\non_leave = \"skip\""), &[]);
        check(
            &t("on = [\"insert\", \"read\", \"insert\"]"),
            &["\"insert\" stands in \"on\" twice"],
        );
    }

    #[test]
    fn what_is_set_in_place_of_a_delete_is_named_and_stands_under_set() {
        let t = |on_delete: &str| format!("table = \"public.t\"\non_delete = {on_delete}");
        check(&t("{ set = { deleted = true } }"), &[]);
        check(&t("{ set = {} }"), &["\"set\" names no field; name one, or write \"send\""]);
        check(
            &t("{ deleted = true, by = \"${X}\" }"),
            &[
                "\"on_delete\" needs \"set\" around its fields; write on_delete = { set = { deleted \
               = true, by = \"${X}\" } }",
            ],
        );
        let dotted = "table = \"public.t\"\n[route.on_delete]\ndeleted = true";
        check(
            dotted,
            &["\"on_delete\" needs \"set\" around its fields; write on_delete = { set = { … } }"],
        );
    }

    #[test]
    fn without_a_journal_nothing_begins_in_it_or_is_held() {
        let off = "[journal]\nmax_size = \"0\"";
        for (key, cure) in
            [("start = \"journal\"", "now"), ("on_schema_change = \"hold\"", "continue")]
        {
            let route = format!("table = \"public.t\"\n{key}");
            let told = format!("{key} needs a journal; raise journal.max_size or write \"{cure}\"");
            assert_eq!(problems(off, &route), [told]);
            assert_eq!(problems("", &route), Vec::<String>::new());
        }
        let messages = problems(off, "message = \"p\"\nstart = \"journal\"");
        assert_eq!(messages.len(), 1, "{messages:?}");
    }
}
