//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").

use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use rustix::fs::{FileType, fstat};
use rustix::io::fcntl_dupfd_cloexec;

/// Bytes per block where the file is iterated; Gunicorn's default.
const BLOCK: usize = 8192;

#[pyclass(frozen, name = "FileWrapper", module = "monoceros._core")]
pub struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=BLOCK))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> FileWrapper {
        FileWrapper { filelike, blksize }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.filelike.bind(py).call_method1("read", (self.blksize,))?;
        Ok(block.is_truthy()?.then_some(block))
    }

    /// Closes the file, where it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr("close") {
            Ok(close) => close.call0().map(drop),
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the kernel can send by itself: a descriptor of our own, where to begin, how much there is.
pub struct Sendable {
    pub file: OwnedFd,
    pub offset: u64,
    pub length: u64,
}

impl FileWrapper {
    /// None where the file has to be read: it is no plain file object on a regular file (a
    /// decompressing reader has a fileno too, of other bytes).
    pub fn sendable(&self, py: Python<'_>) -> PyResult<Option<Sendable>> {
        static PLAIN: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
        let plain = PLAIN.get_or_try_init(py, || {
            let io = py.import("io")?;
            let types = ["FileIO", "BufferedReader", "BufferedRandom"].map(|name| io.getattr(name));
            let types: Vec<_> = types.into_iter().collect::<PyResult<_>>()?;
            PyTuple::new(py, types).map(Bound::unbind)
        })?;
        let file = self.filelike.bind(py);
        if !plain.bind(py).contains(file.get_type())? {
            return Ok(None);
        }
        if let Ok(raw) = file.getattr("raw") {
            // A reader over something else than a file, such as a decompressor.
            if !plain.bind(py).contains(raw.get_type())? {
                return Ok(None);
            }
        }
        if file.hasattr("flush")? && file.call_method0("writable")?.is_truthy()? {
            file.call_method0("flush")?;
        }
        let offset: u64 = match file.call_method0("tell").and_then(|at| at.extract()) {
            Ok(offset) => offset,
            Err(_) => return Ok(None),
        };
        let number: i32 = file.call_method0("fileno")?.extract()?;
        // SAFETY: the file object holds its descriptor open during this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(stat) = fstat(borrowed) else { return Ok(None) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let Ok(own) = fcntl_dupfd_cloexec(borrowed, 0) else { return Ok(None) };
        let length = (stat.st_size as u64).saturating_sub(offset);
        Ok(Some(Sendable { file: own, offset, length }))
    }
}
