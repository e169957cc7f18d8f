//! Opening a file that somebody else names.
//!
//! A load reads on the controller's own loop, so that a file whose reading waits would
//! stop everything. Not every file that calls itself regular can be read to its end:
//! `/proc/kmsg` and tracing's `trace_pipe` wait for more. What counts is therefore what
//! was opened, and on what kind of file system it is, never the path.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FsWord, OFlags, PROC_SUPER_MAGIC};

/// What the kernel makes up as it is read, by the numbers of `linux/magic.h` and of the
/// kernel's sources: proc, sysfs, tracefs, debugfs, securityfs, configfs, both kinds of
/// cgroups, bpf, pstore, efivarfs, selinuxfs, smackfs, fusectl, binfmt_misc, resctrl and
/// xenfs.
const MADE_UP: [FsWord; 17] = [
    PROC_SUPER_MAGIC,
    0x6265_6572,
    0x7472_6163,
    0x6462_6720,
    0x7363_6673,
    0x6265_6570,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x4341_5d53,
    0x6573_5543,
    0x4249_4e4d,
    0x0765_5821,
    0xabba_1974,
];

/// Opens a regular file on a disk or in memory, without ever waiting for anybody.
///
/// # Errors
///
/// Fails with [`io::ErrorKind::InvalidInput`] and words for people if it is anything else.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let odd = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    // Asked before it is opened too: to open a device may do something.
    if !fs::metadata(path)?.is_file() {
        return Err(odd("it is not a regular file"));
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(odd("it is not a regular file"));
    }
    if MADE_UP.contains(&rustix::fs::fstatfs(&file)?.f_type) {
        return Err(odd("the kernel makes it up as it is read (procfs, sysfs and the like); \
             put what is meant into a file on a disk or in memory"));
    }
    Ok((file, metadata))
}

/// Reads a file of at most so many bytes whole.
///
/// # Errors
///
/// As [`open_regular`]; with [`io::ErrorKind::FileTooLarge`] if there is more of it.
pub(super) fn read_at_most(path: &Path, most_bytes: u64) -> io::Result<(Metadata, Vec<u8>)> {
    let (file, metadata) = open_regular(path)?;
    let bytes = rest_of(file, &metadata, most_bytes)?;
    Ok((metadata, bytes))
}

/// Reads what was opened, if it is not larger.
///
/// # Errors
///
/// With [`io::ErrorKind::FileTooLarge`] if it is.
pub(super) fn rest_of(file: File, metadata: &Metadata, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if metadata.len() <= most_bytes {
        file.take(most_bytes + 1).read_to_end(&mut bytes)?;
    }
    // It may have grown since it was opened.
    if metadata.len().max(bytes.len() as u64) > most_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_makes_up_is_not_read() {
        for path in ["/proc/self/environ", "/proc/version", "/sys/kernel/uevent_seqnum"] {
            let error = open_regular(Path::new(path)).expect_err(path);
            if error.kind() != io::ErrorKind::NotFound {
                assert!(error.to_string().contains("the kernel makes it up"), "{path}: {error}");
            }
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "12345").expect("writable");
        assert_eq!(read_at_most(&path, 5).expect("it fits").1, b"12345");
        let error = read_at_most(&path, 4).expect_err("too large");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
