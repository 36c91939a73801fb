//! [`Screen`]: the terminal while it is drawn on, given back as it was whatever happens.

use std::io;

use ratatui::DefaultTerminal;

use super::draw;
use super::model::Model;
use crate::cli::failure::{Exit, Failure};

/// The terminal. Dropped, or at a panic, it is as it was before.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal over: no echo, no lines, a screen of its own.
    pub(super) fn open() -> Result<Self, Failure> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                // Half of it may be done.
                let _as_far_as_it_goes = ratatui::try_restore();
                Err(broken(&error))
            }
        }
    }

    /// Draws what is different from what is there.
    pub(super) fn draw(&mut self, model: &Model) -> Result<(), Failure> {
        let drawn = self.terminal.draw(|frame| draw::draw(model, frame));
        drawn.map(drop).map_err(|error| broken(&error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to give back.
        let _gone = self.terminal.show_cursor();
        let _gone = ratatui::try_restore();
    }
}

pub(super) fn broken(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the terminal can't be used: {error}"))
}
