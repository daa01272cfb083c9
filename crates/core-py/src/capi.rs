//! Raw use of CPython's C API, where the safe layer costs more than the hot path can spare.
//! Everything outside this module is safe Rust; each function says why it is sound.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use monoceros_engine::Payload;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

/// A str of bytes that stand for code points U+0000 to U+00FF (PEP 3333, "Unicode Issues").
#[inline]
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: the pointer and length describe `bytes`; the result is a new reference to a str or
    // null with an exception set, which from_owned_ptr_or_err tells apart.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            std::ptr::null(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// The bytes of a str that has only code points up to U+00FF; None for any other.
#[inline]
pub fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    // SAFETY: the interpreter is attached and keeps the str alive and unchanged while borrowed.
    match unsafe { text.data() } {
        Ok(PyStringData::Ucs1(bytes)) => Some(bytes),
        _ => None,
    }
}

/// `HTTP_` and the name in upper case with `_` for `-`.
pub fn header_key<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    const PREFIX: &[u8] = b"HTTP_";
    // SAFETY: the new str has exactly the length that is written, is not shared yet, and every
    // byte is ASCII: the parser admits only tokens as names.
    unsafe {
        let length = (PREFIX.len() + name.len()) as ffi::Py_ssize_t;
        let object = ffi::PyUnicode_New(length, 127);
        let text: Bound<'py, PyString> =
            Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked();
        let data = ffi::PyUnicode_DATA(object).cast::<u8>();
        std::ptr::copy_nonoverlapping(PREFIX.as_ptr(), data, PREFIX.len());
        for (index, byte) in name.iter().enumerate() {
            let upper = if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() & 127 };
            data.add(PREFIX.len() + index).write(upper);
        }
        Ok(text)
    }
}

/// `dict[key] = value`, without another count of either.
#[inline]
pub fn set<T>(dict: &Bound<'_, PyDict>, key: &Py<PyString>, value: &Bound<'_, T>) -> PyResult<()> {
    // SAFETY: three live objects; PyDict_SetItem takes its own references.
    let result = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(dict.py())) }
}

/// Puts `value` under `key` unless the dict has it; gives back what is there then.
#[inline]
pub fn set_default<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: three live objects; the result is borrowed from the dict, and counted at once.
    unsafe {
        let found = ffi::PyDict_SetDefault(dict.as_ptr(), key.as_ptr(), value.as_ptr());
        Bound::from_borrowed_ptr_or_err(dict.py(), found)
    }
}

/// `callable(first, second)` by vectorcall.
#[inline]
pub fn call2<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // Room before the first argument, which the callee may use for `self` (PEP 590).
    let arguments = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    // SAFETY: two live arguments stand behind the free place that the flag promises; the result
    // is a new reference, or null with an exception set.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_ptr().add(1),
            2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// `callable(first, second, third)` by vectorcall.
#[inline]
pub fn call3<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
    third: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr(), third.as_ptr()];
    // SAFETY: as in `call2`, with three arguments.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_ptr().add(1),
            3 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// `callable(first, **{names: values})` by vectorcall; `names` is a tuple of as many str as there
/// are values.
#[inline]
pub fn call_with_names<'py, const VALUES: usize>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    values: [&Bound<'py, PyAny>; VALUES],
    names: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    const ROOM: usize = 8;
    const { assert!(VALUES + 2 <= ROOM) };
    debug_assert_eq!(names.len(), VALUES);
    let mut arguments = [std::ptr::null_mut(); ROOM];
    arguments[1] = first.as_ptr();
    for (place, value) in arguments[2..].iter_mut().zip(values) {
        *place = value.as_ptr();
    }
    // SAFETY: live arguments stand behind the free place that the flag promises, as many named ones
    // as there are names.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_ptr().add(1),
            1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            names.as_ptr(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// A str of UTF-8; what is none becomes U+FFFD.
#[inline]
pub fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    /// From here on it pays to look whether all is ASCII, which needs no decoding.
    const LONG: usize = 64;
    // SAFETY: the pointer and length describe `bytes`; a new reference, or null with an exception.
    // A new str for ASCII has room for as many bytes as it has characters and is not shared yet.
    unsafe {
        if bytes.len() > LONG && bytes.is_ascii() {
            let text = ffi::PyUnicode_New(bytes.len() as ffi::Py_ssize_t, 127);
            let text = Bound::from_owned_ptr_or_err(py, text)?;
            let into = ffi::PyUnicode_DATA(text.as_ptr()).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), into, bytes.len());
            return Ok(text.cast_into_unchecked());
        }
        let text = ffi::PyUnicode_DecodeUTF8(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            c"replace".as_ptr(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// `dict[key]`, where it is there.
#[inline]
pub fn get<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Py<PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: two live objects; the result is borrowed from the dict, and counted at once; null
    // without an exception says that there is none.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        if found.is_null() {
            return match PyErr::take(dict.py()) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        }
        Ok(Some(Bound::from_borrowed_ptr(dict.py(), found)))
    }
}

/// Runs `body` in a context, as `context.run` does.
pub fn in_context<T>(context: &Bound<'_, PyAny>, body: impl FnOnce() -> T) -> PyResult<T> {
    // SAFETY: the caller gives a contextvars.Context, which the function checks; what was entered
    // is left in the same thread, before anything else can be entered.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(context.py()));
        }
        let result = body();
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(context.py()));
        }
        Ok(result)
    }
}

/// Sets StopIteration with `value`, without making an exception object of it yet.
pub fn stop_iteration(value: &Bound<'_, PyAny>) {
    // SAFETY: two live objects; the function takes its own references.
    unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) }
}

/// The next item of an iterator; None at its end.
#[inline]
pub fn next<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: the caller got `iterator` from `iter()`, so that it has tp_iternext; null means the
    // end, or an exception.
    unsafe {
        let item = ffi::PyIter_Next(iterator.as_ptr());
        if !item.is_null() {
            return Ok(Some(Bound::from_owned_ptr(iterator.py(), item)));
        }
    }
    match PyErr::take(iterator.py()) {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Nobody but the caller holds a reference.
#[inline]
pub fn is_sole_reference<T>(object: &Bound<'_, T>) -> bool {
    // SAFETY: a live object, and the interpreter is attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// A built-in function bound to `state`: the cheapest callable there is. The definition lives as
/// long as the process.
pub fn function<'py>(
    state: &Bound<'py, PyAny>,
    definition: &'static Definition,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the definition is static and valid; the function takes its own reference to `state`.
    unsafe {
        let function =
            ffi::PyCFunction_NewEx(definition.0.get(), state.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(state.py(), function)
    }
}

/// A function's definition for CPython.
pub struct Definition(std::cell::UnsafeCell<ffi::PyMethodDef>);

// SAFETY: CPython only reads a method definition.
unsafe impl Sync for Definition {}

impl Definition {
    pub const fn new(name: &'static CStr, body: ffi::PyCFunctionFastWithKeywords) -> Definition {
        Definition(std::cell::UnsafeCell::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: body },
            ml_flags: ffi::METH_FASTCALL as c_int | ffi::METH_KEYWORDS as c_int,
            ml_doc: std::ptr::null(),
        }))
    }

    /// Of a function that takes one argument (METH_O), or none (METH_NOARGS).
    pub const fn simple(name: &'static CStr, body: ffi::PyCFunction, takes: Takes) -> Definition {
        Definition(std::cell::UnsafeCell::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: body },
            ml_flags: match takes {
                Takes::One => ffi::METH_O,
                Takes::Nothing => ffi::METH_NOARGS,
            } as c_int,
            ml_doc: std::ptr::null(),
        }))
    }
}

/// How many arguments a function takes.
pub enum Takes {
    Nothing,
    One,
}

/// Runs the body of a function of one argument, or of none, on what CPython hands over.
///
/// # Safety
/// To be called by CPython only, through [`Definition::simple`].
pub unsafe fn enter_simple(
    state: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
    body: impl for<'py> FnOnce(
        &Bound<'py, PyAny>,
        Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls functions attached, with a live `self`, and an argument that is live,
    // or null where there is none.
    unsafe {
        let py = Python::assume_attached();
        let run = || {
            let state = Bound::from_borrowed_ptr(py, state);
            let argument = Bound::from_borrowed_ptr_or_opt(py, argument);
            body(&state, argument.as_ref())
        };
        give_back(py, catch_unwind(AssertUnwindSafe(run)))
    }
}

fn give_back(
    py: Python<'_>,
    result: std::thread::Result<PyResult<Bound<'_, PyAny>>>,
) -> *mut ffi::PyObject {
    match result {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(error)) => {
            error.restore(py);
            std::ptr::null_mut()
        }
        Err(_) => panicked(py),
    }
}

#[cold]
fn panicked(py: Python<'_>) -> *mut ffi::PyObject {
    PyRuntimeError::new_err("the server has panicked; please report this").restore(py);
    std::ptr::null_mut()
}

/// Runs the body of a built-in function on what CPython hands over.
///
/// # Safety
/// To be called by CPython only, through a [`Definition`], with its calling convention.
pub unsafe fn enter(
    state: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
    body: impl for<'py> FnOnce(
        &Bound<'py, PyAny>,
        &[Bound<'py, PyAny>],
        Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls functions attached, with a live `self`, `count` live positional
    // arguments, and after them the values of the names in `keywords`, a tuple or null.
    unsafe {
        let py = Python::assume_attached();
        let run = || {
            let state = Bound::from_borrowed_ptr(py, state);
            let keywords = Bound::from_borrowed_ptr_or_opt(py, keywords);
            let named = keywords.as_ref().map_or(Ok(0), |names| names.len())?;
            let all: Vec<Bound<'_, PyAny>> = (0..count as usize + named)
                .map(|index| Bound::from_borrowed_ptr(py, *arguments.add(index)))
                .collect();
            body(&state, &all, keywords.as_ref())
        };
        give_back(py, catch_unwind(AssertUnwindSafe(run)))
    }
}

/// Bytes of Python's that the engine sends without a copy.
pub struct BytesPayload(pub Py<PyBytes>);

impl AsRef<[u8]> for BytesPayload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a bytes object never changes, and this reference keeps it alive; reading its
        // memory needs no interpreter.
        unsafe {
            let data = ffi::PyBytes_AS_STRING(self.0.as_ptr()).cast::<u8>();
            let length = ffi::Py_SIZE(self.0.as_ptr()) as usize;
            std::slice::from_raw_parts(data, length)
        }
    }
}

impl Payload for BytesPayload {
    fn is_shared(&self) -> bool {
        // SAFETY: the object is alive. Another thread may change the count meanwhile: the answer
        // is a hint, and a stale one costs memory or a file, nothing else.
        unsafe { ffi::Py_REFCNT(self.0.as_ptr()) > 1 }
    }
}

/// A str's UTF-8, which the engine sends without a copy.
pub struct TextPayload {
    text: Py<PyString>,
    data: *const u8,
    length: usize,
}

// SAFETY: what `data` points to never changes, and lives as long as `text`, which may be let go of
// on any thread.
unsafe impl Send for TextPayload {}

impl TextPayload {
    /// Raises where the str has no UTF-8 (lone surrogates).
    pub fn new(text: &Bound<'_, PyString>) -> PyResult<TextPayload> {
        // Kept by the str itself from now on, if it is not its own UTF-8 already.
        let utf8 = text.to_str()?.as_bytes();
        let (data, length) = (utf8.as_ptr(), utf8.len());
        Ok(TextPayload { text: text.clone().unbind(), data, length })
    }
}

impl AsRef<[u8]> for TextPayload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: see above; reading needs no interpreter.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl Payload for TextPayload {
    fn is_shared(&self) -> bool {
        // SAFETY: as for bytes.
        unsafe { ffi::Py_REFCNT(self.text.as_ptr()) > 1 }
    }
}
