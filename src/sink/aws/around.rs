//! [`Around`]: what the machine says of AWS: environment variables, and the files that some of
//! them name.

use std::path::PathBuf;

/// Returns the value of a variable.
type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// See the module.
pub(super) struct Around {
    variable: Box<Variable>,
}

impl Around {
    /// Returns that of this process.
    pub(super) fn of_process() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Returns one with these variables.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { variable: Box::new(variable) }
    }

    /// Returns a variable; one that is empty is none.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Returns the file that a variable names, or else one in `~/.aws`.
    pub(super) fn file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        match self.variable(variable) {
            Some(path) => Some(path.into()),
            None => Some(PathBuf::from(self.variable("HOME")?).join(".aws").join(name)),
        }
    }
}
