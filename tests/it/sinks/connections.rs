//! The `http` sink's connections: kept, closed by the far side, lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tokio::sync::mpsc;
use walgate::failure::Category;
use walgate::sink::{self, Answer, Config, Sink, http};

use super::{COMMON, batch, failure};
use crate::support::receiver::{Receiver, Reply};

/// Answers one request a connection, one connection after the other, and closes each when told.
struct Server {
    address: SocketAddr,
    close: std::sync::mpsc::Sender<()>,
    closed: mpsc::UnboundedReceiver<()>,
}

impl Server {
    fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (close, told) = std::sync::mpsc::channel();
        let (tell, closed) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                read_request(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                // Both ends of the channels go with the test.
                if told.recv().is_err() {
                    return;
                }
                drop(stream);
                tell.send(()).unwrap();
            }
        });
        Self { address, close, closed }
    }

    async fn close(&mut self) {
        self.close.send(()).unwrap();
        self.closed.recv().await.unwrap();
        // The reactor sees it too, as it does in any pause.
        tokio::task::yield_now().await;
    }
}

fn read_request(stream: &mut TcpStream) {
    let mut text = Vec::new();
    // Only the body ends like this.
    while !text.ends_with(b"{\"a\":1}}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
}

fn to(address: SocketAddr) -> Box<dyn Sink> {
    let config = http::Config::to(format!("http://{address}/"));
    sink::build("crm", &Config::Http(Box::new(config)), &COMMON).unwrap()
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_failure() {
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let mut server = Server::answering(answer);
        let sink = to(server.address);
        for _ in 0..3 {
            assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
            assert!(sink.tidy().is_some(), "it is kept: {answer}");
            server.close().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_far_side_ends_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = Server::answering(answer);
        let sink = to(server.address);
        assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
        assert!(sink.tidy().is_none());
    }
}

#[tokio::test]
async fn what_was_sent_on_a_kept_connection_is_not_sent_again_by_itself() {
    let receiver = Receiver::start();
    let sink = to(receiver.address());
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    receiver.next(Reply::lost());
    assert_eq!(failure(sink.deliver(&batch(0..1)).await).category, Category::Transient);
    let journal = receiver.journal();
    assert_eq!((journal.requests.len(), journal.connections), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_an_answer_is_no_answer_to_the_next_request() {
    for (first, pause) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n|HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            50,
        ),
        (
            "HTTP/1.1 204 No\r\ncontent-length: 38\r\n\r\n|HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            50,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\n\r\n|HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            50,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n|HTTP/1.1 103 Early\r\n\r\n|HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n|HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            50,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n",
            0,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    let mut turn = 0;
                    loop {
                        let mut text = Vec::new();
                        while !text.ends_with(b"{\"a\":1}}") {
                            let mut byte = [0];
                            if stream.read_exact(&mut byte).is_err() {
                                return;
                            }
                            text.push(byte[0]);
                        }
                        if number == 0 && turn == 0 {
                            for part in first.split('|') {
                                let _ = stream.write_all(part.as_bytes());
                                crate::support::process::pause(std::time::Duration::from_millis(
                                    20,
                                ));
                            }
                        } else {
                            let _ =
                                stream.write_all(b"HTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n");
                        }
                        turn += 1;
                    }
                });
            }
        });
        let sink = to(address);
        assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged, "{first}");
        tokio::time::sleep(std::time::Duration::from_millis(pause + 60)).await;
        assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged, "{first}");
    }
}
