//! What the support says it does, it does: else the tests on it prove nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::process::eventually;
use super::proxy::{Faults, Proxy};
use super::receiver::{Event, Receiver, Reply};

const SECOND: Duration = Duration::from_secs(1);

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SECOND / 4)).unwrap();
    stream
}

/// Sends an event by hand and returns what came back of the answer's head.
fn send(stream: &mut TcpStream, event: &str) -> std::io::Result<String> {
    let length = event.len();
    write!(stream, "POST /x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{event}")?;
    let mut answer = [0; 1024];
    let mut read = 0;
    while !answer[..read].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[read..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(String::from_utf8(answer[..read].to_vec()).unwrap())
}

fn event(op: &str, seq: u32, key: u32, rest: &str) -> String {
    format!(r#"{{"id":"1-{seq}","op":"{op}","table":"t","key":{{"id":{key}}}{rest}}}"#)
}

#[test]
fn a_receiver_answers_as_ordered_and_journals() {
    let receiver = Receiver::start();
    let is_seventh = |event: &Event| event.key() == "t{\"id\":7}";
    receiver.when(is_seventh, Reply::status(500));
    receiver.when(is_seventh, Reply::status(422));
    receiver.otherwise(Reply::status(204));
    let mut stream = connect(receiver.address());
    assert!(send(&mut stream, &event("insert", 1, 7, "")).unwrap().starts_with("HTTP/1.1 422"));
    assert!(send(&mut stream, &event("insert", 2, 8, "")).unwrap().starts_with("HTTP/1.1 204"));
    receiver.behave();
    assert!(send(&mut stream, &event("insert", 1, 7, "")).unwrap().starts_with("HTTP/1.1 200"));
    receiver.wait("two events", SECOND, |journal| journal.events_processed == 2);
    let journal = receiver.journal();
    assert_eq!((journal.requests.len(), journal.in_flight_max), (3, 1));
    assert!(journal.requests[0].at <= journal.requests[1].at);
    assert_eq!(journal.by_key().len(), 2);
}

#[test]
fn a_journal_folds_into_the_table_and_tells_broken_order() {
    let receiver = Receiver::start();
    let mut stream = connect(receiver.address());
    for event in [
        event("insert", 1, 1, r#","data":{"id":1,"big":"x"}"#),
        event("update", 2, 1, r#","data":{"id":1},"unchanged":["big"]"#),
        event("insert", 3, 2, r#","data":{"id":2}"#),
        event("update", 4, 3, r#","data":{"id":3},"before_key":{"id":2}"#),
        event("insert", 5, 4, r#","data":{"id":4}"#),
        event("delete", 6, 4, ""),
    ] {
        send(&mut stream, &event).unwrap();
    }
    let rows = receiver.journal().fold();
    let rows: Vec<_> = rows.iter().map(|(key, data)| format!("{key}{data}")).collect();
    assert_eq!(rows, [r#"t{"id":1}{"id":1,"big":"x"}"#, r#"t{"id":3}{"id":3}"#]);
    assert!(receiver.journal().out_of_order().is_empty());
    send(&mut stream, &event("insert", 5, 4, "")).unwrap();
    assert_eq!(receiver.journal().out_of_order(), [r#"t{"id":4}"#], "the last is not the latest");
    send(&mut stream, r#"{"id":"1-7","op":"truncate","table":"t","key":null}"#).unwrap();
    assert!(receiver.journal().fold().is_empty());
}

#[test]
fn a_proxy_passes_everything_on_until_told_otherwise() {
    let receiver = Receiver::start();
    let proxy = Proxy::start(receiver.address());
    let insert = event("insert", 1, 1, "");
    let mut stream = connect(proxy.address());
    assert!(send(&mut stream, &insert).unwrap().starts_with("HTTP/1.1 200"));
    eventually("it has counted", Duration::from_secs(10), || {
        proxy.connections() == 1 && proxy.bytes_from_server() > 10
    });

    proxy.set(Faults { split: true, delay: SECOND / 20, ..Faults::default() });
    let began = Instant::now();
    assert!(send(&mut stream, &insert).is_ok());
    assert!(began.elapsed() >= SECOND / 10);

    proxy.set(Faults { bytes_per_second: 1000, ..Faults::default() });
    let began = Instant::now();
    assert!(send(&mut stream, &event("insert", 1, 1, &format!(r#","x":"{:100}""#, ""))).is_ok());
    assert!(send(&mut stream, &insert).is_ok());
    assert!(began.elapsed() >= SECOND / 10);

    proxy.set(Faults { blackhole: true, ..Faults::default() });
    assert_eq!(send(&mut stream, &insert).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.set(Faults::default());
    assert!(stream.read(&mut [0; 1024]).is_ok(), "what was held back flows on");

    proxy.cut();
    assert!(
        matches!(send(&mut stream, &insert), Err(error) if error.kind() != ErrorKind::WouldBlock)
    );
    assert!(send(&mut connect(proxy.address()), &insert).is_ok());
}

#[test]
fn a_proxy_refuses_cuts_in_the_middle_and_leaves_half_a_connection() {
    let receiver = Receiver::start();
    let proxy = Proxy::start(receiver.address());
    let insert = event("insert", 1, 1, "");
    proxy.set(Faults { cut_after: 9, ..Faults::default() });
    let mut stream = connect(proxy.address());
    let cut = send(&mut stream, &insert).unwrap_err();
    assert_ne!(cut.kind(), ErrorKind::WouldBlock);
    assert_eq!(proxy.bytes_from_server(), 9);

    proxy.set(Faults::default());
    let mut stream = connect(proxy.address());
    send(&mut stream, &insert).unwrap();
    proxy.set(Faults { half_open: true, ..Faults::default() });
    let silence = send(&mut stream, &insert).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock, "nobody tells the client");

    proxy.set(Faults { refuse: true, ..Faults::default() });
    assert!(TcpStream::connect(proxy.address()).is_err());
    proxy.set(Faults::default());
    assert!(send(&mut connect(proxy.address()), &insert).is_ok());
}
