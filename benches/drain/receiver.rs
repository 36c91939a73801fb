//! An HTTP receiver in a process of its own: takes events, counts them, forgets them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Outcome;

/// Each event names its operation once, before its data.
const PER_EVENT: &[u8] = b"\"op\":\"";
const COMMIT_TIME: &[u8] = b"\"time\":\"";

/// The receiver's process.
pub(crate) struct Receiver {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Receiver {
    pub(crate) fn start() -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // It ends when its standard input closes: with this process.
        let mut child =
            command.arg("--receiver").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the receiver has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the events counted and their latencies in milliseconds, and forgets both.
    pub(crate) fn take(&self) -> Outcome<(u64, Vec<f64>)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream
            .write_all(b"GET /take HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").ok_or("the receiver answered nonsense")?;
        let mut numbers = body.split_whitespace();
        let count = numbers.next().ok_or("the receiver answered nothing")?.parse()?;
        Ok((count, numbers.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[derive(Default)]
struct Taken {
    events: u64,
    latencies_ms: Vec<f64>,
}

/// Is the receiver.
pub(crate) fn serve() -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        std::process::exit(0);
    });
    let taken = Arc::new(Mutex::new(Taken::default()));
    for stream in listener.incoming() {
        let (stream, taken) = (stream?, Arc::clone(&taken));
        std::thread::spawn(move || drop(converse(stream, &taken)));
    }
    Ok(())
}

fn converse(stream: TcpStream, taken: &Mutex<Taken>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let (mut head, mut body) = (String::new(), Vec::new());
    loop {
        head.clear();
        let mut length = 0;
        while reader.read_line(&mut head)? > 2 {
            let line = head.lines().next_back().unwrap_or_default();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        if head.is_empty() {
            return Ok(());
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        if head.starts_with("GET /take ") {
            let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
            let times: Vec<String> = taken.latencies_ms.iter().map(f64::to_string).collect();
            let text = format!("{} {}", taken.events, times.join(" "));
            write!(answers, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
            return Ok(());
        }
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        count(&head, &body, taken);
    }
}

fn count(head: &str, body: &[u8], taken: &Mutex<Taken>) {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let events = memchr::memmem::find_iter(body, PER_EVENT).count();
    let mut latencies_ms = Vec::new();
    if head.starts_with("POST /latency ") {
        for at in memchr::memmem::find_iter(body, COMMIT_TIME) {
            let text = body.get(at + COMMIT_TIME.len()..).unwrap_or_default();
            let text = text.split(|byte| *byte == b'"').next().unwrap_or_default();
            let time = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            if let Some(time) = time.map(|time: jiff::Timestamp| time.as_microsecond()) {
                latencies_ms.push(
                    std::time::Duration::from_micros(u64::try_from(now_us - time).unwrap_or(0))
                        .as_secs_f64()
                        * 1e3,
                );
            }
        }
    }
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    taken.events += u64::try_from(events).unwrap_or(0);
    taken.latencies_ms.extend(latencies_ms);
}
