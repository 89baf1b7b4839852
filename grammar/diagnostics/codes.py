"""Table of all diagnostic codes with a one-line meaning each."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # 1xx: the text cannot be read
    "RNN101": "a character that the language does not have",
    "RNN102": "a symbol where it cannot stand",
    "RNN103": "a bracket without its partner",
    "RNN104": "indentation that does not fit",
    "RNN105": "tabs and spaces mixed in the indentation",
    "RNN106": "a malformed number",
    "RNN107": "a limit on the text is exceeded",
    "RNN108": "a reserved word used as a name",
    "RNN109": "a malformed declaration",
    "RNN110": "a malformed operator definition",
    "RNN111": "a malformed left side of an equation",
    "RNN112": "two different operators in a row without parentheses",
    "RNN113": "a statement in a place where it has no meaning",
    "RNN114": "nothing to compile",
    "RNN115": "a look-alike of a character of the language",
    # 2xx: names
    "RNN201": "an unknown name",
    "RNN202": "a name declared twice",
    "RNN203": "reading an output",
    "RNN204": "a variable that is never set",
    "RNN205": "a variable set twice",
    "RNN206": "an operator that is not defined",
    "RNN207": "a wrong number of arguments",
    "RNN208": "a wrong argument of a template",
    "RNN209": "an operator that uses itself",
    "RNN210": "`use` of something that is not there",
    "RNN211": "a parameter without a value",
    "RNN212": "a model that is not in the file",
    "RNN213": "a constant that cannot be computed",
    "RNN214": "a limit on expansion is exceeded",
    "RNN215": "an unknown annotation of a parameter",
    "RNN216": "an unknown parameter of a model",
    "RNN217": "an unused state",
    "RNN218": "a name that captures an operator's parameter",
    "RNN219": "a subscripted operator that does not follow its plain namesake",
    "RNN220": "a `param` line that annotates nothing",
    # 3xx: shapes and types
    "RNN301": "two sizes that do not agree",
    "RNN302": "one operator at two shapes",
    "RNN303": "a size that cannot be inferred",
    "RNN304": "a number or a vector standing before a vector",
    "RNN305": "a matrix where a vector belongs",
    "RNN306": "a symbol where a vector belongs",
    "RNN307": "tuples that do not fit",
    "RNN308": "an absurd size",
    "RNN309": "an annotation that does not fit its parameter",
    "RNN310": "a type that cannot stand here",
    "RNN311": "an activation before a target that has its own",
    # 4xx: time
    "RNN401": "a cycle without a delay",
    "RNN402": "past and future mixed in one cycle",
    "RNN403": "reading the future",
    "RNN404": "a prediction that has already seen its target",
    "RNN405": "the bare name of a state that runs backward",
    "RNN406": "a time that is not `t` plus or minus an integer",
    "RNN407": "a delay of a local",
    "RNN408": "a prediction that reads the summary from before the input",
    # 5xx: compiling and running
    "RNN501": "a backend that cannot run the model",
    "RNN502": "a package that rnnc needs and cannot import",
    "RNN503": "kernels that cannot be built",
    "RNN504": "a GPU that has failed",
    "RNN505": "programs on a GPU that did not meet",
    "RNN520": "nothing that can be timed",
    # 6xx: files, data, checkpoints, runs
    "RNN601": "a file that is not there",
    "RNN602": "a file that cannot be read",
    "RNN603": "a file that is not UTF-8 text",
    "RNN604": "a file that is too large",
    "RNN605": "an output that cannot be written",
    "RNN606": "an unknown model of the zoo",
    "RNN610": "a data set that is not found",
    "RNN611": "a data file that is broken or foreign",
    "RNN620": "a spec that does not fit the task",
    "RNN621": "a model with nothing to train",
    "RNN630": "a folder that holds no run",
    "RNN631": "a checkpoint that is broken or foreign",
    "RNN632": "a checkpoint of another version",
    "RNN633": "weights that do not fit the spec",
    "RNN634": "a run that is already there",
    "RNN635": "weights that are not finite numbers",
    "RNN640": "a loss that is not a finite number",
    "RNN650": "a picture that needs pygraphviz",
    "RNN651": "an ending that names no format",
    "RNN652": "a file that is already there",
    "RNN653": "a picture that is too large",
    # 9xx: ours
    "RNN901": "an internal error: a bug in rnnc",
    "RNN902": "not enough memory",
}


def code_title(code: str) -> str:
    """Return the one-line meaning of a code."""
    return CODES[code]
