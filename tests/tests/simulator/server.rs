//! The process under test, asked over its own sockets and told over its control interface.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(super) const DEADLINE: Duration = Duration::from_mins(1);
pub(super) const PROLOG: &str = "<?xml version='1.0' encoding='utf-8'?>";
pub(super) const DESK: &str = "Front desk 1";

pub(super) struct Simulator {
    pub(super) child: Child,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) addresses: Value,
}

impl Simulator {
    pub(super) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lockbridge-sim"))
            .args(["salto-space", "--data"])
            .arg(data)
            .args(["--exit-with-stdin", "--non-standard"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            sender.send(line)
        });
        let line = ready.recv_timeout(DEADLINE).expect("the ready line");
        Self { child, stdin, addresses: serde_json::from_str(&line).unwrap() }
    }

    pub(super) fn connect(&self, port: &str) -> TcpStream {
        let address: SocketAddr = self.addresses[port].as_str().unwrap().parse().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One request on a connection of its own; the body of the answer.
    pub(super) fn ask(&self, name: &str, params: &str) -> String {
        let mut stream = self.connect("stp");
        stream.write_all(&frame(name, params)).unwrap();
        read_body(&mut stream).expect("an answer")
    }

    fn control(&self, verb: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http(self.connect("control"), head.as_bytes());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{verb} {path}: {answer}"))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        self.control("POST", path, body)
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.control("GET", path, &Value::Null)
    }

    pub(super) fn count(&self, kind: &str) -> u64 {
        self.get("/effects")["by_kind"][kind].as_u64().unwrap_or(0)
    }

    pub(super) fn put_card(&self) -> String {
        self.post("/encoders/put", &json!({ "encoder": DESK }))["serial"].as_str().unwrap().to_owned()
    }

    pub(super) fn opens(&self, serial: &str, door: &str) -> bool {
        self.post("/doors/present", &json!({ "serial": serial, "door": door }))["opened"].as_bool().unwrap()
    }

    pub(super) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what} did not come");
            std::thread::yield_now();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(super) fn frame(name: &str, params: &str) -> Vec<u8> {
    let body = format!("<RequestCall><RequestName>{name}</RequestName><Params>{params}</Params></RequestCall>");
    format!("STP/00/{}/{body}", body.len()).into_bytes()
}

/// The body of one answer; `None` when the connection ends before the answer does.
pub(super) fn read_body(stream: &mut TcpStream) -> Option<String> {
    let mut header = Vec::new();
    let mut slashes = 0;
    while slashes < 3 {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        slashes += u8::from(byte[0] == b'/');
        header.push(byte[0]);
    }
    let header = String::from_utf8(header).unwrap();
    let length = header.split('/').nth(2).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}

pub(super) fn http(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A cut connection ends the text early, which is what some tests look for.
    match stream.read_to_end(&mut answer) {
        Ok(_) | Err(_) => String::from_utf8_lossy(&answer).into_owned(),
    }
}

pub(super) fn refused(code: u16) -> String {
    format!("<Code>{code}</Code>")
}

pub(super) fn make_ann(simulator: &Simulator, doors: &[&str]) {
    let item = |door: &&str| {
        ["<SaltoDB.AccessPermission.User_Door><ExtDoorID>", door, "</ExtDoorID></SaltoDB.AccessPermission.User_Door>"]
            .concat()
    };
    let doors = doors.iter().map(item).collect::<Vec<_>>().concat();
    let params = format!(
        "<SaltoDBUser><ExtUserID>ann</ExtUserID><FirstName>Ann</FirstName><LastName>Lee</LastName>\
         <SaltoDB.AccessPermissionList.User_Door>{doors}</SaltoDB.AccessPermissionList.User_Door></SaltoDBUser>"
    );
    let answer = simulator.ask("SaltoDBUser.InsertOrUpdate", &params);
    assert!(answer.ends_with("<Params><ExtUserID>ann</ExtUserID></Params></RequestResponse>"), "{answer}");
}

pub(super) fn job(kind: &str, encoder: &str) -> (String, String) {
    let params = format!("<ExtUserID>ann</ExtUserID><EncoderID>{encoder}</EncoderID>");
    (format!("Encoder.SaltoDBUser.{kind}"), params)
}

pub(super) fn encode(simulator: &Simulator, kind: &str) -> String {
    let (name, params) = job(kind, DESK);
    simulator.ask(&name, &params)
}

pub(super) fn status(simulator: &Simulator) -> String {
    let params = "<MaxCount>1</MaxCount><StartingFromExtUserID>ann</StartingFromExtUserID>";
    let answer = simulator.ask("SaltoDBUserList.Read", params);
    let (_, rest) = answer.split_once("<CurrentKeyStatus>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}
