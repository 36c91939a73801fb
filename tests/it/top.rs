//! `walgate top` draws the status on a terminal, and gives the terminal back as it was.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::support::process::{Walgate, eventually};
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, http, route};

/// Leaves the screen of its own, and shows the cursor.
const GIVEN_BACK: [&str; 2] = ["\x1b[?1049l", "\x1b[?25h"];

/// A terminal of 80 by 24 with `walgate top` on it; `script` makes one of a pipe.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Terminal {
    #[track_caller]
    fn start(folder: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_walgate");
        let run = format!(
            "stty rows 24 cols 80; sh -c 'echo $$ > top.pid; exec {program} top --every 100ms'; \
             echo ended=$?; stty -a"
        );
        let mut command = Command::new("script");
        command.args(["-qec", &run, "/dev/null"]).current_dir(folder);
        command.env("TERM", "xterm").env("NO_COLOR", "1").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let told = Arc::clone(&written);
        let reading = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut piece) {
                told.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { child, keys, written, reading: Some(reading) }
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    fn shows(&self, text: &str) {
        eventually(&format!("it shows {text:?}"), PATIENCE, || {
            screen(&self.written()).contains(text)
        });
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for its end; returns its exit code. The terminal is as it was then.
    #[track_caller]
    fn ended(mut self) -> String {
        let given_back = |written: &str| written.contains("ended=") && written.contains("icanon");
        eventually("it has ended", PATIENCE, || given_back(&self.written()));
        self.child.wait().unwrap();
        self.reading.take().unwrap().join().unwrap();
        let written = self.written();
        let (drawn, after) = written.split_once("ended=").unwrap();
        for sequence in GIVEN_BACK {
            assert!(drawn.contains(sequence), "{sequence:?} is missing");
        }
        let modes: Vec<&str> = after.split_whitespace().collect();
        assert!(modes.contains(&"icanon") && modes.contains(&"echo"), "{after}");
        modes[0].to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what stands on the screen, a line each: what was written where the cursor was put.
fn screen(written: &str) -> String {
    let mut lines = vec![vec![' '; 80]; 24];
    let (mut row, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\x1b' if rest.as_str().starts_with('[') => {
                let end = rest.as_str().find(|it: char| it.is_ascii_alphabetic()).unwrap_or(0);
                let (sequence, after) = rest.as_str().split_at(end);
                let (kind, numbers) = (after.chars().next(), sequence.trim_start_matches('['));
                if kind == Some('H') {
                    let place =
                        |text: Option<&str>| text.and_then(|it| it.parse().ok()).unwrap_or(1);
                    let mut parts = numbers.split(';');
                    (row, column) = (place(parts.next()) - 1, place(parts.next()) - 1);
                }
                rest = after.get(1..).unwrap_or_default().chars();
            }
            '\n' => (row, column) = (row + 1, 0),
            letter if letter.is_control() => {}
            letter => {
                if let Some(place) = lines.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *place = letter;
                }
                column += 1;
            }
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
}

#[test]
fn a_sink_is_watched_paused_and_resumed() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let mut terminal = Terminal::start(road.walgate.folder());
    terminal.shows("streaming");
    terminal.shows("sink 1 of 1: 1 ok");
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 4711) g");
    terminal.shows("4711");
    terminal.press("p");
    terminal.shows("walgate sink pause far");
    terminal.press("n");
    terminal.press("p");
    terminal.press("y");
    let state = |road: &Road| road.walgate.status()["sinks"][0]["state"].clone();
    eventually("it is paused", PATIENCE, || state(&road) == "halted");
    terminal.shows("halted");
    terminal.press("ry");
    eventually("it goes on", PATIENCE, || state(&road) == "ok");
    terminal.press("?");
    terminal.shows("the next that is not ok");
    terminal.press("xq");
    assert_eq!(terminal.ended(), "0");
}

fn nowhere() -> Walgate {
    Walgate::new(&format!(
        "[source]\nurl = \"postgres://nobody:hidden@127.0.0.1:1/none\"\n{}{}",
        http("far", "http://127.0.0.1:1/", ""),
        route("t", "far")
    ))
}

#[test]
fn it_shows_what_is_known_where_nothing_runs_and_a_signal_ends_it() {
    let walgate = nowhere();
    let terminal = Terminal::start(walgate.folder());
    terminal.shows("nothing has run with this state folder yet");
    terminal.shows("has not run yet");
    let pid = std::fs::read_to_string(walgate.folder().join("top.pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "TERM", pid.trim()]).status().unwrap().success());
    assert!(!terminal.written().contains("hidden"));
    assert_eq!(terminal.ended(), "0");
    assert!(!walgate.folder().join("walgate-state").exists());
}

#[test]
fn without_a_terminal_it_names_the_command_that_needs_none() {
    let output = nowhere().call(&["top"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    assert!(said.contains("help: `walgate status` says the same once"), "{said}");
}
