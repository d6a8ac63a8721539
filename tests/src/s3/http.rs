//! One HTTP request over one connection. HTTP/1.0, so that an answer ends with its connection and has no chunks.

use std::fmt;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing on this machine takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of the body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(1_000)]))
    }
}

/// Sends a request and reads its answer to the end.
pub(crate) fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {target} HTTP/1.0\r\n{lines}content-length: {}\r\n\r\n", body.len());
    // In one piece: a server that refuses a request by its head alone and then closes would otherwise reset the connection on the body.
    connection.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = vec![];
    connection.read_to_end(&mut answer)?;
    parsed(&answer, method == "HEAD")
}

fn parsed(answer: &[u8], is_head: bool) -> Result<Answer> {
    let cut = || Error::new(ErrorKind::UnexpectedEof, "the connection ended before the answer did");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(cut)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(cut)?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_string())).collect();
    let answer = Answer { status, headers, body: answer[end + 4..].to_vec() };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if !is_head && length.is_some_and(|length| length != answer.body.len()) {
        return Err(cut());
    }
    Ok(answer)
}
