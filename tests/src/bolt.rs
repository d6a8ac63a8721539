//! As much of Bolt, Neo4j's protocol, as it takes to see whether a server answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The tag of an answer that says yes.
const SUCCESS: u8 = 0x70;
/// The tag of a row.
const RECORD: u8 = 0x71;

/// Whether the Neo4j at `address` lets the user in and answers a query.
pub(crate) fn answers(address: SocketAddr, user: &str, password: &str) -> bool {
    ask(address, user, password).unwrap_or(false)
}

fn ask(address: SocketAddr, user: &str, password: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let versions = [[0, 0, 1, 4], [0; 4], [0; 4], [0; 4]].concat();
    stream.write_all(&[&[0x60, 0x60, 0xB0, 0x17], versions.as_slice()].concat())?;
    let mut version = [0; 4];
    stream.read_exact(&mut version)?;
    let hello = [("user_agent", "lake/1"), ("scheme", "basic"), ("principal", user), ("credentials", password)];
    let run = [&[0xB3, 0x10][..], &text("RETURN 1"), &[0xA0, 0xA0]].concat();
    let pull = [&[0xB1, 0x3F, 0xA1][..], &text("n"), &[0xFF]].concat();
    for (message, wanted) in [([&[0xB1, 0x01][..], &map(&hello)].concat(), SUCCESS), (run, SUCCESS), (pull, RECORD)] {
        send(&mut stream, &message)?;
        if tag(&mut stream)? != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

fn text(text: &str) -> Vec<u8> {
    [&[0xD0, text.len() as u8], text.as_bytes()].concat()
}

fn map(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(name, value)| [text(name), text(value)].concat());
    [0xA4].into_iter().chain(fields).collect()
}

fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = (message.len() as u16).to_be_bytes();
    stream.write_all(&[&length, message, &[0, 0]].concat())
}

/// The tag of the next answer, which is read to its end.
fn tag(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut answer = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        match (u16::from_be_bytes(length), answer.get(1)) {
            (0, Some(tag)) => return Ok(*tag),
            // Nothing but a sign of life.
            (0, None) => {}
            (length, _) => {
                let start = answer.len();
                answer.resize(start + usize::from(length), 0);
                stream.read_exact(&mut answer[start..])?;
            }
        }
    }
}
