/* A stream's step as a Python function without arguments: to make a call takes ctypes 0.1 us, as long
 * as a step of a small network (measured on Zen 4: an LSTM of 16 units in 0.19 us for 0.26).
 *
 * In the stable ABI, so that one build serves every version of CPython. Empty where the build found
 * no Python.h: steps are called by ctypes then, as all else is. */
#ifdef CSBRNN_PYTHON
#define Py_LIMITED_API 0x030a0000
#include <Python.h>

#include "binding.h"

/* `capsule` points to the call, and its context is what owns that. */
static PyObject *step(PyObject *capsule, PyObject *unused) {
    const csbrnn_call *call = (const csbrnn_call *)PyCapsule_GetPointer(capsule, NULL);
    csbrnn_error error;
    (void)unused;
    if (!call) return NULL;
    Py_BEGIN_ALLOW_THREADS
    error = csbrnn_call_step(call);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

static void release(PyObject *capsule) {
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *bind_step(PyObject *module, PyObject *arguments) {
    static PyMethodDef definition = {"step", step, METH_NOARGS, "One step; returns its error."};
    PyObject *owner, *address, *capsule, *function;
    void *call;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &address, &owner)) return NULL;
    call = PyLong_AsVoidPtr(address);
    if (!call) return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "address is 0");
    capsule = PyCapsule_New(call, NULL, release);
    if (!capsule) return NULL;
    Py_INCREF(owner);
    if (PyCapsule_SetContext(capsule, owner)) Py_DECREF(owner);
    function = PyErr_Occurred() ? NULL : PyCFunction_New(&definition, capsule);
    Py_DECREF(capsule); /* the function keeps it */
    return function;
}

static PyMethodDef functions[] = {
    {"bind_step", bind_step, METH_VARARGS, "bind_step(address, owner): the step of a csbrnn_call."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_csbrnn", NULL, 0, functions,
                             NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__csbrnn(void) { return PyModuleDef_Init(&module); }
#else
typedef int csbrnn_no_python; /* ISO C wants something in every file */
#endif
