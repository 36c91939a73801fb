//! Ends a process when this one is gone, however it went: a `kill -9` runs no destructor.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The end of input without the word says that our process is gone. SIGQUIT is an immediate stop
/// to PostgreSQL and an end to walgate.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r word || word=
test "$word" = done && exit 0
kill -QUIT "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && test $n -lt 50; do sleep 0.1; n=$((n+1)); done
kill -KILL "$1" 2>/dev/null
rm -rf -- "$2"
"#;

/// A shell that waits for this process to end.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a process and the folder that is to go with it.
    pub(super) fn over(process: u32, folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "walgate-watchdog"]).arg(process.to_string()).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C in the terminal must not end it before those whom it watches.
        shell.process_group(0).spawn().map(Self)
    }
}

/// Good order: whoever drops it has ended the process itself.
impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            drop(input.write_all(b"done\n"));
        }
        drop(self.0.wait());
    }
}

/// Sends a signal by name. The shell does it: the standard library can only kill.
pub(super) fn signal(name: &str, process: u32) -> io::Result<()> {
    let script = format!("kill -{name} {process} 2>/dev/null");
    Command::new("sh").arg("-c").arg(script).status().map(drop)
}
