//! TLS and client certificates.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use walgate::failure::Category;
use walgate::sink::kafka::Config;
use walgate::sink::{self, Answer, Common, Form, Sink, tls};

use super::broker::Broker;
use crate::sinks::batch;
use crate::sinks::tls::Authority;
use crate::support::{Server, loopback};

const COMMON: Common = Common {
    timeout: Duration::from_secs(3),
    concurrency: 1,
    max_events: 500,
    form: Form::Walgate,
};

/// Speaks TLS for a broker.
async fn relay(listener: std::net::TcpListener, acceptor: TlsAcceptor, broker: SocketAddr) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Ok(mut broker) = TcpStream::connect(broker).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut broker).await;
        });
    }
}

fn build(address: SocketAddr, files: tls::Files) -> Box<dyn Sink> {
    let config = Config { tls: Some(files), ..Config::to(address.to_string(), "t") };
    sink::build("far", &sink::Config::Kafka(Box::new(config)), &COMMON).unwrap()
}

#[tokio::test]
async fn a_broker_that_asks_for_a_certificate_gets_ours() {
    let authority = Authority::new();
    let (address, listener) = loopback();
    let behind = loopback().0;
    let acceptor = authority.acceptor(true);
    let _server = Server::start(move || relay(listener, acceptor, behind));
    let broker = Broker::start_at(behind, address, &[]);
    let path = |name: &str| Some(authority.path(name));
    let known =
        tls::Files { ca: path("ca.pem"), cert: path("client.pem"), key: path("client.key") };
    // One whose certificate nobody vouches for is not spoken to.
    let stranger = build(address, tls::Files { ca: None, ..known.clone() });
    let Answer::PerEvent(outcomes) = stranger.deliver(&batch(0..1)).await else {
        panic!("it was trusted");
    };
    let refused = outcomes[0].as_ref().unwrap_err();
    assert_eq!(refused.category, Category::Setup, "{refused}");
    assert!(refused.message.contains("certificate verify failed"), "{refused}");
    let seen = stranger.check().await.unwrap_err();
    assert_eq!(seen.category, Category::Setup, "{seen}");
    let friend = build(address, known);
    assert_eq!(friend.deliver(&batch(0..3)).await, Answer::Acknowledged);
    friend.check().await.unwrap();
    let folder = authority.path("");
    assert_eq!(broker.read_over_tls("t", &folder).len(), 3);
}
