//! What a key does (pure).

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Act, Mode, Model};

/// A page of sinks.
const PAGE: isize = 10;

/// What is to be done beside drawing anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    End,
    /// This to that sink.
    Do(Act, String),
}

/// Takes what the terminal tells.
pub(super) fn press(model: &mut Model, event: &Event) -> Step {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = *event else {
        return Step::Stay;
    };
    let control = modifiers.contains(KeyModifiers::CONTROL);
    match (&model.mode, code) {
        (_, KeyCode::Char('c')) if control => Step::End,
        (Mode::Watch, code) => watch(model, code),
        (Mode::Help, _) => {
            model.mode = Mode::Watch;
            Step::Stay
        }
        (Mode::Confirm(act, sink), KeyCode::Char('y') | KeyCode::Enter) => {
            let step = Step::Do(*act, sink.clone());
            model.said = Some(format!("{}: asked …", model.twin(*act, sink)));
            model.mode = Mode::Watch;
            step
        }
        (Mode::Confirm(..), KeyCode::Char('n' | 'q') | KeyCode::Esc) => {
            model.mode = Mode::Watch;
            Step::Stay
        }
        (Mode::Confirm(..), _) => Step::Stay,
    }
}

fn watch(model: &mut Model, code: KeyCode) -> Step {
    model.said = None;
    match code {
        KeyCode::Char('q') | KeyCode::Esc => return Step::End,
        KeyCode::Char('j') | KeyCode::Down => model.go(1),
        KeyCode::Char('k') | KeyCode::Up => model.go(-1),
        KeyCode::PageDown => model.go(PAGE),
        KeyCode::PageUp => model.go(-PAGE),
        KeyCode::Char('g') | KeyCode::Home => model.go(isize::MIN),
        KeyCode::Char('G') | KeyCode::End => model.go(isize::MAX),
        KeyCode::Tab => model.go_to_trouble(),
        KeyCode::Char('p') => ask(model, Act::Pause),
        KeyCode::Char('r') => ask(model, Act::Resume),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => model.mode = Mode::Help,
        _ => {}
    }
    Step::Stay
}

fn ask(model: &mut Model, act: Act) {
    if let Some(sink) = model.selected() {
        model.mode = Mode::Confirm(act, sink.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::SinkState;
    use crate::inspect::status::{SinkStatus, Status};
    use crate::lsn::Timestamp;

    fn model(states: &[SinkState]) -> Model {
        let sink = |(index, state): (usize, &SinkState)| SinkStatus {
            name: format!("s{index}"),
            state: *state,
            ..SinkStatus::default()
        };
        let sinks = states.iter().enumerate().map(sink).collect();
        let mut model = Model::new(false, None);
        model.look(Status { sinks, ..Status::default() }, Timestamp(0));
        model
    }

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[track_caller]
    fn check(model: &mut Model, keys: &[KeyCode], selected: usize) {
        for code in keys {
            assert_eq!(press(model, &key(*code)), Step::Stay);
        }
        assert_eq!(model.index(), selected);
    }

    #[test]
    fn the_selection_moves_and_stays_within_the_sinks() {
        let mut model = model(&[SinkState::Ok; 25]);
        check(&mut model, &[], 0);
        check(&mut model, &[KeyCode::Up, KeyCode::Char('k')], 0);
        check(&mut model, &[KeyCode::Down, KeyCode::Char('j')], 2);
        check(&mut model, &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::PageDown], 24);
        check(&mut model, &[KeyCode::Home], 0);
        check(&mut model, &[KeyCode::Char('G'), KeyCode::PageUp], 14);
        check(&mut model, &[KeyCode::Char('x'), KeyCode::Char('?'), KeyCode::Down], 14);
        check(&mut super::tests::model(&[]), &[KeyCode::Down, KeyCode::End, KeyCode::Tab], 0);
    }

    #[test]
    fn a_sink_stays_selected_where_others_come_and_go() {
        let mut model = model(&[SinkState::Ok; 3]);
        check(&mut model, &[KeyCode::Down, KeyCode::Down], 2);
        let mut status = model.status.clone().unwrap();
        status.sinks.remove(0);
        model.look(status, Timestamp(1));
        assert_eq!((model.index(), model.selected().unwrap().name.as_str()), (1, "s2"));
        model.look(Status::default(), Timestamp(2));
        assert!(model.selected().is_none());
    }

    #[test]
    fn tab_goes_from_trouble_to_trouble() {
        let (ok, halted) = (SinkState::Ok, SinkState::Halted);
        let mut model = model(&[ok, halted, ok, SinkState::Retrying]);
        for selected in [1, 3, 1] {
            check(&mut model, &[KeyCode::Tab], selected);
        }
    }

    #[test]
    fn nothing_is_done_before_it_is_confirmed() {
        let mut model = model(&[SinkState::Ok; 2]);
        let pause = Mode::Confirm(Act::Pause, "s1".to_owned());
        check(&mut model, &[KeyCode::Down, KeyCode::Char('p'), KeyCode::Down], 1);
        assert_eq!(model.mode, pause);
        check(&mut model, &[KeyCode::Esc], 1);
        assert_eq!(model.mode, Mode::Watch);
        check(&mut model, &[KeyCode::Char('r')], 1);
        let done = Step::Do(Act::Resume, "s1".to_owned());
        assert_eq!(press(&mut model, &key(KeyCode::Char('y'))), done);
        assert_eq!(model.mode, Mode::Watch);
    }

    #[test]
    fn it_ends_with_q_escape_and_control_c() {
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut model(&[]), &key(code)), Step::End);
        }
        let mut model = model(&[SinkState::Ok]);
        model.mode = Mode::Confirm(Act::Pause, "s0".to_owned());
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut model, &Event::Key(interrupt)), Step::End);
    }
}
