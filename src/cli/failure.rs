//! [`Failure`]: why a command did not do what it was asked, with its exit code.

use std::error::Error;
use std::process::ExitCode;

use crate::config::Problems;
use crate::failure::{Classify, chain};
use crate::{inspect, state};

/// The exit codes that users script against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Done,
    /// 1: failed while running.
    Failed,
    /// 2: wrong usage or config.
    Usage,
    /// 3: preflight failed.
    Preflight,
    /// 4: halted, a person must act.
    Halted,
    /// 5: finished, with dead letters or a rejection.
    Rejected,
    /// 6: the state folder or slot is in use by another instance.
    InUse,
}

impl Exit {
    /// Returns the code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Preflight => 3,
            Self::Halted => 4,
            Self::Rejected => 5,
            Self::InUse => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked. Holds no row values and no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    /// What went wrong, with its causes.
    pub message: String,
    /// The user's next step.
    pub help: Option<String>,
    /// `message` stands for itself: no `error: ` before it.
    pub bare: bool,
}

impl Failure {
    /// Makes a failure of one sentence.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, bare: false }
    }

    /// Makes a failure of an error and its causes.
    #[must_use]
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Makes a failure of a stage's error, with the next step that it knows.
    #[must_use]
    pub fn of_stage<E: Error + Classify>(exit: Exit, error: &E) -> Self {
        Self { help: error.help(), ..Self::of(exit, error) }
    }

    /// Makes a failure of what can't be shown.
    #[must_use]
    pub fn of_inspect(error: &inspect::Error) -> Self {
        match error {
            inspect::Error::State(error) => {
                let locked = matches!(error, state::Error::Locked { .. });
                Self::of_stage(if locked { Exit::InUse } else { Exit::Failed }, error)
            }
            inspect::Error::Journal(error) => Self::of(Exit::Failed, error),
            inspect::Error::Mapping(error) => Self::of_stage(Exit::Failed, error),
            inspect::Error::Missing { message, help } | inspect::Error::Unfit { message, help } => {
                Self::new(Exit::Usage, message).help(help)
            }
            inspect::Error::Asked { message, help } => {
                Self { help: help.clone(), ..Self::new(Exit::Usage, message) }
            }
        }
    }

    /// Makes a failure of a config's problems, a line each.
    #[must_use]
    pub fn config(problems: &Problems) -> Self {
        Self { bare: true, ..Self::new(Exit::Usage, problems.to_string()) }
    }

    /// Adds the next step.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<inspect::Error> for Failure {
    fn from(error: inspect::Error) -> Self {
        Self::of_inspect(&error)
    }
}
