use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::style::Color;

use super::super::model::{Act, Mode, Model};
use crate::delivery::SinkState;
use crate::inspect::status::{JournalStatus, SinkStatus, SourceState, SourceStatus, Status};
use crate::lsn::Timestamp;

fn sink(name: &str, kind: &str, state: SinkState) -> SinkStatus {
    SinkStatus {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        state,
        lag_events: Some(12),
        freshness_seconds: Some(0.3),
        delivered: 120_431,
        skipped: 7,
        since: Some("2026-11-24T05:00:00Z".to_owned()),
        ..SinkStatus::default()
    }
}

fn status(sinks: Vec<SinkStatus>) -> Status {
    Status {
        source: SourceStatus {
            state: SourceState::Streaming,
            slot: "walgate".to_owned(),
            confirmed_lsn: Some("0/1A".to_owned()),
            server_lsn: Some("0/2B".to_owned()),
            lag_bytes: Some(17),
            lag_seconds: Some(0.0),
            retained_wal_bytes: Some(16 << 20),
            wal_status: Some("reserved".to_owned()),
            safe_wal_bytes: Some(32 << 20),
            wal_seconds_left: Some(90),
            warnings: vec!["publication walgate has no table".to_owned()],
            ..SourceStatus::default()
        },
        journal: JournalStatus { bytes: 2048, ..JournalStatus::default() },
        sinks,
    }
}

/// A shop's sinks, one of them halted and selected, after looks at which more and more was sent.
fn shop() -> Model {
    let mut model = Model::new(true, None);
    for look in 0..180 {
        let mut halted = sink("crm", "http", SinkState::Halted);
        halted.reason = Some(
            "crm.example:443 answered 401, which is the same for every change: look at the token \
             in the sink's headers"
                .to_owned(),
        );
        halted.dead_letters = [("rejected".to_owned(), 3)].into();
        halted.lag_events = None;
        let mut warehouse = sink("warehouse", "clickhouse", SinkState::Ok);
        warehouse.events_per_second = f64::from(look) * 10.0;
        model.look(status(vec![warehouse, halted]), Timestamp(0));
    }
    model.go_to_trouble();
    model
}

fn terminal(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| super::draw(model, frame)).unwrap();
    terminal
}

fn frame(model: &Model, width: u16, height: u16) -> String {
    let terminal = terminal(model, width, height);
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(width));
    let text = |line: &[Cell]| line.iter().map(Cell::symbol).collect::<String>();
    lines.map(|line| format!("{}\n", text(line).trim_end())).collect()
}

#[track_caller]
fn check(model: &Model, (width, height): (u16, u16), expected: &str) {
    let frame = frame(model, width, height);
    assert_eq!(frame, expected.trim_start_matches('\n'), "\n{frame}");
}

#[test]
fn everything_at_eighty_by_twenty_four() {
    check(
        &shop(),
        (80, 24),
        "
walgate top  sink 2 of 2: 1 ok, 1 halted                    2000-01-01T00:00:00Z
source   streaming, slot walgate
         confirmed 0/1A of 0/2B, behind 17 B, 0.0 s
         16.0 MiB of WAL kept for the slot (reserved, 32.0 MiB left, 90.0 s at
         this rate)
         publication walgate has no table
journal  2.0 KiB

sink      kind       state  waiting behind  per s           delivered dead
warehouse clickhouse ok          12  0.3 s 1790.0 ▁▂▃▄▄▅▆▇▇    120431    0
crm       http       halted       -  0.3 s    0.0              120431    3







crm (http): halted
  crm.example:443 answered 401, which is the same for every change: look at the
  token in the sink's headers
  since 2026-11-24T05:00:00Z
  3 set aside, rejected
q quit  ? help  ↑↓ select  p pause  r resume  Tab next in trouble
",
    );
}

#[test]
fn colours_come_and_go_and_nothing_else_does() {
    let mut model = shop();
    let colours = |model: &Model| {
        let terminal = terminal(model, 80, 24);
        let cells = terminal.backend().buffer().content().to_vec();
        let mut colours: Vec<Color> = cells.iter().map(|cell| cell.fg).collect();
        colours.sort_by_key(ToString::to_string);
        colours.dedup();
        colours
    };
    assert_eq!(colours(&model), [Color::Green, Color::Red, Color::Reset, Color::Yellow]);
    let coloured = frame(&model, 80, 24);
    model.colour = false;
    assert_eq!(colours(&model), [Color::Reset]);
    assert_eq!(frame(&model, 80, 24), coloured);
}

#[test]
fn a_narrow_terminal_has_fewer_columns() {
    check(
        &shop(),
        (38, 14),
        "
walgate top       2000-01-01T00:00:00Z
source   streaming, slot walgate
         confirmed 0/1A of 0/2B,
         behind 17 B, 0.0 s

sink      state  waiting behind dead
warehouse ok          12  0.3 s    0
crm       halted       -  0.3 s    3


crm (http): halted
  crm.example:443 answered 401, which
  is the same for every change: look
q quit  ? help  ↑↓ select  p pause
",
    );
}

#[test]
fn a_hundred_sinks_are_scrolled_through() {
    let mut model = Model::new(false, None);
    let sinks = (1..=100).map(|n| sink(&format!("sink-{n}"), "http", SinkState::Ok)).collect();
    model.look(status(sinks), Timestamp(0));
    model.go(60);
    check(
        &model,
        (80, 16),
        "
walgate top  sink 61 of 100: 100 ok                         2000-01-01T00:00:00Z
source   streaming, slot walgate
         confirmed 0/1A of 0/2B, behind 17 B, 0.0 s
         16.0 MiB of WAL kept for the slot (reserved, 32.0 MiB left, 90.0 s at
         this rate)

sink     kind state waiting behind per s           delivered skipped dead
sink-58  http ok         12  0.3 s   0.0              120431       7    0
sink-59  http ok         12  0.3 s   0.0              120431       7    0
sink-60  http ok         12  0.3 s   0.0              120431       7    0
sink-61  http ok         12  0.3 s   0.0              120431       7    0
sink-62  http ok         12  0.3 s   0.0              120431       7    0
sink-63  http ok         12  0.3 s   0.0              120431       7    0

sink-61 (http): ok
q quit  ? help  ↑↓ select  p pause  r resume  Tab next in trouble
",
    );
    model.go(isize::MAX);
    let frame = frame(&model, 80, 16);
    assert!(frame.contains("\nsink-100 ") && frame.contains("sink 100 of 100"), "{frame}");
}

#[test]
fn before_the_first_look_and_without_an_instance() {
    let mut model = Model::new(false, None);
    check(
        &model,
        (40, 5),
        "
walgate top



q quit  ? help  ↑↓ select  p pause
",
    );
    model.problem = Some("the state is of a newer walgate".to_owned());
    assert!(frame(&model, 60, 12).contains("no newer status: the state is of a newer walgate"));
    let mut stopped = status(vec![sink("far", "file", SinkState::Ok)]);
    stopped.source.state = SourceState::Stopped;
    stopped.source.reason = Some("no instance is running since 2026-11-24T05:00:00Z".to_owned());
    model.look(stopped, Timestamp(0));
    let frame = frame(&model, 80, 24);
    assert!(frame.contains("source   stopped, slot walgate\n"), "{frame}");
    assert!(frame.contains("no instance is running since"), "{frame}");
}

#[test]
fn a_question_shows_its_twin_of_the_command_line() {
    let mut model = shop();
    model.file = Some("/etc/walgate.toml".to_owned());
    model.mode = Mode::Confirm(Act::Pause, "crm".to_owned());
    check(
        &model,
        (64, 12),
        "
walgate top  sink 2 of 2: 1 ok, 1 halted    2000-01-01T00:00:00Z
source   streaming, slot walgate
         confirmed 0/1A of 0/2B, behind 17 B, 0.0 s
   ┌ y yes  n no ──────────────────────────────────────────┐
sin│ Pause sink crm? Its changes wait until it is resumed. │ead
war│                                                       │  0
crm│ As walgate sink pause crm -c /etc/walgate.toml        │  3
   └───────────────────────────────────────────────────────┘

crm (http): halted
  crm.example:443 answered 401, which is the same for every
q quit  ? help  ↑↓ select  p pause  r resume
",
    );
    let narrow = frame(&model, 24, 12);
    assert!(narrow.contains("│ As walgate sink      │\n│   pause crm -c       │"), "{narrow}");
    model.mode = Mode::Help;
    let help = frame(&model, 80, 24);
    assert!(help.contains("│ Tab          the next that is not ok"), "{help}");
}

#[test]
fn no_size_is_too_small_to_be_drawn_on() {
    let mut model = shop();
    for mode in [Mode::Watch, Mode::Help, Mode::Confirm(Act::Resume, "crm".to_owned())] {
        model.mode = mode;
        for (width, height) in [(0, 0), (1, 1), (1, 40), (200, 1), (3, 3), (20, 6), (300, 90)] {
            let _drawn = frame(&model, width.max(1), height.max(1));
        }
    }
}
