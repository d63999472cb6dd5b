//! Just enough of Cassandra's native protocol, version 4, to make roles and to see that a
//! Cassandra answers.
//!
//! Never used by Iris: no pool, no types, no TLS.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

const VERSION: u8 = 4;
const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;

const CONSISTENCY_ONE: u16 = 1;
/// The answer to a query need not describe its columns.
const SKIP_METADATA: u8 = 0x02;
const RESULT_ROWS: i32 = 2;
/// The largest answer that is read.
const FRAME_BYTES_MAX: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A row: each column as Cassandra encodes it, or nothing.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    stream: TcpStream,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(address: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("cannot connect to Cassandra at {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut session = Self { stream };
        let mut startup = 1_u16.to_be_bytes().to_vec();
        push_string(&mut startup, "CQL_VERSION")?;
        push_string(&mut startup, "3.0.0")?;
        match session.exchange(STARTUP, &startup)?.0 {
            READY => return Ok(session),
            AUTHENTICATE => {}
            other => bail!("Cassandra answered a greeting with {other:#x}"),
        }
        let mut token = Vec::new();
        push_bytes(&mut token, format!("\0{user}\0{password}").as_bytes())?;
        let (answer, _) = session.exchange(AUTH_RESPONSE, &token)?;
        ensure!(answer == AUTH_SUCCESS, "Cassandra answered a log-in with {answer:#x}");
        Ok(session)
    }

    /// Runs one statement at consistency ONE and gives its rows.
    pub(crate) fn query(&mut self, statement: &str) -> Result<Vec<Row>> {
        let mut body = Vec::new();
        push_bytes(&mut body, statement.as_bytes())?;
        body.extend(CONSISTENCY_ONE.to_be_bytes());
        body.push(SKIP_METADATA);
        let (answer, body) = self.exchange(QUERY, &body)?;
        ensure!(answer == RESULT, "Cassandra answered a query with {answer:#x}");
        rows(&body)
    }

    fn exchange(&mut self, opcode: u8, body: &[u8]) -> Result<(u8, Vec<u8>)> {
        let mut frame = vec![VERSION, 0, 0, 0, opcode];
        push_bytes(&mut frame, body)?;
        self.stream.write_all(&frame)?;
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).context("Cassandra closed the connection")?;
        let [_, _, _, _, answer, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        ensure!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if answer == ERROR {
            let mut reader = Reader(&body);
            let code = reader.int()?;
            bail!("Cassandra refused ({code:#06x}): {}", reader.string()?);
        }
        Ok((answer, body))
    }
}

fn rows(body: &[u8]) -> Result<Vec<Row>> {
    let mut reader = Reader(body);
    if reader.int()? != RESULT_ROWS {
        return Ok(Vec::new());
    }
    let _flags = reader.int()?;
    let columns = reader.int()?;
    let count = reader.int()?;
    (0..count).map(|_| (0..columns).map(|_| reader.value()).collect()).collect()
}

fn push_string(to: &mut Vec<u8>, text: &str) -> Result<()> {
    to.extend(u16::try_from(text.len())?.to_be_bytes());
    to.extend(text.as_bytes());
    Ok(())
}

fn push_bytes(to: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    to.extend(u32::try_from(bytes.len())?.to_be_bytes());
    to.extend(bytes);
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length).context("an answer ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn string(&mut self) -> Result<String> {
        let length = u16::from_be_bytes(self.take(2)?.try_into()?);
        Ok(String::from_utf8_lossy(self.take(length.into())?).into_owned())
    }

    fn value(&mut self) -> Result<Option<Vec<u8>>> {
        // A negative length stands for no value.
        let Ok(length) = usize::try_from(self.int()?) else {
            return Ok(None);
        };
        Ok(Some(self.take(length)?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, rows};

    #[test]
    fn rows_are_read_with_their_holes() {
        let mut body = Vec::new();
        for number in [2, 4, 2, 1, 3] {
            body.extend(i32::to_be_bytes(number));
        }
        body.extend(b"abc");
        body.extend((-1_i32).to_be_bytes());
        assert_eq!(rows(&body).unwrap(), [[Some(b"abc".to_vec()), None]]);
        assert!(rows(&1_i32.to_be_bytes()).unwrap().is_empty());
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        assert!(Reader(&[0, 0, 0]).int().is_err());
        assert!(Reader(&[0, 5, b'a']).string().is_err());
    }
}
