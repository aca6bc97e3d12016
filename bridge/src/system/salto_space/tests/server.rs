//! A scripted server on loopback: what it answers is the test's word for word, so that it can be wrong in every way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbridge_protocol::ship::envelope::{Answer, Exception, Request};
use lockbridge_protocol::ship::frame::{Frame, FrameReader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What the server does with a request.
pub(super) enum Reply {
    /// A good answer with these children of `Params`.
    Params(String),
    /// An exception.
    Code(i64),
    /// These bytes, as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// An answer, one byte at a time with this pause.
    Trickle(Vec<u8>, Duration),
    /// A good answer, then the end of the connection.
    ParamsAndClose(String),
    /// An HTTP status with this body.
    Status(u16, String),
    /// The end of the connection.
    Close,
    /// Nothing, for ever.
    Silence,
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) request: Request,
    pub(super) document: String,
    /// HTTP head; empty on STP.
    pub(super) head: String,
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Desk {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) async fn stp(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(script, false, None).await
    }

    pub(super) async fn http(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(script, true, tls).await
    }

    async fn start(
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        http: bool,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let desk = Desk { script: Arc::new(script), seen: Arc::default() };
        let seen = desk.seen.clone();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (desk, tls) = (desk.clone(), tls.clone());
                tasks.spawn(async move {
                    match (http, tls) {
                        (false, _) => desk.serve_stp(stream).await,
                        (true, None) => desk.serve_http(stream).await,
                        (true, Some(tls)) => match tls.accept(stream).await {
                            Ok(stream) => desk.serve_http(stream).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, seen, connections, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no holder panicked").clone()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.request.name).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn answer(name: &str, params: &str) -> Vec<u8> {
    format!("<?xml version='1.0' encoding='utf-8'?>\n<RequestResponse>\n  <RequestName>{name}</RequestName>\n  <Params>{params}</Params>\n</RequestResponse>").into_bytes()
}

fn exception(name: &str, code: i64) -> Vec<u8> {
    let outcome = Err(Exception { code, message: format!("text of {code}") });
    Answer { name: name.to_owned(), outcome }.to_document().into_bytes()
}

/// A frame around a body.
pub(super) fn frame(body: &[u8]) -> Vec<u8> {
    Frame { version: *b"00", body: body.to_vec() }.encode().expect("a small body")
}

impl Desk {
    fn look_at(&self, document: &[u8], head: String) -> (String, Reply) {
        let request = Request::parse(document).expect("the adapter sends good requests");
        let document = String::from_utf8(document.to_vec()).expect("ASCII");
        assert!(document.is_ascii());
        self.seen.lock().expect("no holder panicked").push(Seen { request: request.clone(), document, head });
        (request.name.clone(), (self.script)(&request))
    }

    async fn serve_stp(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut reader = FrameReader::new();
        let mut buffer = [0_u8; 4096];
        loop {
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            let mut input = &buffer[..count];
            while !input.is_empty() {
                let Some(request) = reader.read(&mut input).expect("the adapter sends good frames") else { continue };
                let (name, reply) = self.look_at(&request.body, String::new());
                let body = match reply {
                    Reply::Params(params) => answer(&name, &params),
                    Reply::Code(code) => exception(&name, code),
                    Reply::Raw(bytes) => {
                        stream.write_all(&bytes).await.ok()?;
                        return stream.shutdown().await.ok();
                    }
                    Reply::Trickle(bytes, pause) => {
                        for byte in bytes {
                            stream.write_all(&[byte]).await.ok()?;
                            tokio::time::sleep(pause).await;
                        }
                        return None;
                    }
                    Reply::ParamsAndClose(params) => {
                        stream.write_all(&frame(&answer(&name, &params))).await.ok()?;
                        return stream.shutdown().await.ok();
                    }
                    Reply::Close => return None,
                    Reply::Silence => std::future::pending().await,
                    Reply::Status(..) => panic!("STP has no status"),
                };
                stream.write_all(&frame(&body)).await.ok()?;
            }
        }
    }

    async fn serve_http(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut received = Vec::new();
        loop {
            let mut buffer = [0_u8; 4096];
            let (head, length) = loop {
                let text = String::from_utf8_lossy(&received).into_owned();
                if let Some((head, _)) = text.split_once("\r\n\r\n") {
                    let length = head.to_ascii_lowercase().lines().find_map(|line| {
                        line.strip_prefix("content-length:")
                            .map(|value| value.trim().parse::<usize>().expect("a number"))
                    });
                    let whole = head.len() + 4 + length.expect("a length");
                    if received.len() >= whole {
                        break (head.to_owned(), whole);
                    }
                }
                let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
                received.extend_from_slice(&buffer[..count]);
            };
            let body = received[head.len() + 4..length].to_vec();
            received.drain(..length);
            let (name, reply) = self.look_at(&body, head);
            let (status, body) = match reply {
                Reply::Params(params) => (200, answer(&name, &params)),
                Reply::Code(code) => (500, exception(&name, code)),
                Reply::Status(status, body) => (status, body.into_bytes()),
                Reply::Raw(bytes) => {
                    stream.write_all(&bytes).await.ok()?;
                    return stream.shutdown().await.ok();
                }
                Reply::Silence => std::future::pending().await,
                _ => return None,
            };
            let head = format!("HTTP/1.1 {status} Any\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
    }
}
