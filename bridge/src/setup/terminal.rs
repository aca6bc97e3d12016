//! A person at a terminal: lines asked for, and lines that are not shown while they are typed.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest line read.
const LINE_BYTES: usize = 4096;
const INTERRUPT: u8 = 0x03;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];

/// Somebody who can be asked.
pub trait Terminal {
    /// Tells something.
    fn say(&mut self, text: &str);

    /// Asks, and gives the line without its end; an error of the kind `UnexpectedEof` when nobody answers any more.
    fn ask(&mut self, prompt: &str, is_secret: bool) -> io::Result<Zeroizing<String>>;
}

/// The terminal this process was started on: questions on standard error, answers on standard input.
#[derive(Debug, Default)]
pub struct Console;

impl Terminal for Console {
    fn say(&mut self, text: &str) {
        let _closed = writeln!(io::stderr(), "{text}");
    }

    fn ask(&mut self, prompt: &str, is_secret: bool) -> io::Result<Zeroizing<String>> {
        let input = io::stdin();
        // Hidden before it is asked for: who pastes at once is not shown either.
        let hidden = is_secret.then(|| Hidden::begin(input.as_fd())).transpose()?;
        write!(io::stderr(), "{prompt}: ")?;
        io::stderr().flush()?;
        let line = read_line(input.as_fd());
        if hidden.is_some() {
            let _closed = writeln!(io::stderr());
        }
        line
    }
}

/// While this lives, the terminal shows nothing of what is typed. The interrupt key comes as a character, so that the
/// terminal is never left in this state.
struct Hidden<'input> {
    input: BorrowedFd<'input>,
    before: Termios,
}

impl<'input> Hidden<'input> {
    fn begin(input: BorrowedFd<'input>) -> io::Result<Self> {
        let before = tcgetattr(input)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(input, SetArg::TCSANOW, &hidden)?;
        Ok(Self { input, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // The terminal is gone when this fails, and with it what could be shown.
        let _gone = tcsetattr(self.input, SetArg::TCSANOW, &self.before);
    }
}

/// Byte by byte, past any buffer that would keep a secret.
fn read_line(input: BorrowedFd<'_>) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    loop {
        let mut byte = Zeroizing::new([0_u8; 1]);
        let read = match nix::unistd::read(input, byte.as_mut_slice()) {
            Err(nix::errno::Errno::EINTR) => continue,
            read => read?,
        };
        match byte[0] {
            _ if read == 0 && line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            b'\n' | b'\r' => break,
            _ if read == 0 => break,
            erase if BACKSPACE.contains(&erase) => {
                line.pop();
            }
            _ if line.len() == LINE_BYTES => return Err(io::ErrorKind::FileTooLarge.into()),
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_read_one_by_one_to_the_end_of_input() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"first\nsecx\x7fond\r\nlast").expect("writes");
        drop(writer);
        for line in ["first", "second", "", "last"] {
            assert_eq!(read_line(reader.as_fd()).expect("a line").as_str(), line);
        }
        assert_eq!(read_line(reader.as_fd()).expect_err("over").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_hidden_line_is_not_echoed_and_the_terminal_is_put_back() {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let flags = || tcgetattr(&pair.slave).expect("attributes").local_flags;
        assert!(flags().contains(LocalFlags::ECHO));
        let hidden = Hidden::begin(pair.slave.as_fd()).expect("hides");
        assert!(!flags().intersects(LocalFlags::ECHO | LocalFlags::ISIG));
        drop(hidden);
        assert!(flags().contains(LocalFlags::ECHO | LocalFlags::ISIG));
    }
}
