"""Small specs of constructs rare in random ones: gaps, windows and logarithms."""

from __future__ import annotations

RARE_WINDOWS: dict[str, str] = {
    "log of softmax of gaps": """
input x: real[2]
state h: real[3]
output y: real
h' = tanh(W h + U x + b)
M = h[t-3..t]
a = softmax(M h')
y = dot(a, log(a))
""",
    "log of softmax sum": """
input x: real[2]
state h: real[3]
output y: real
h' = tanh(W h + U x + b)
M = h[t-3..t]
y = sum(log(softmax(M h')))
""",
    "log of half softmax": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t]
y = log(0.5 * softmax(M h'))
""",
    "log of softmax direct": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t]
y = log(softmax(M h'))
""",
    "log softmax plus one": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t]
y = log(softmax(M h')) + 1
""",
    "typed gaps": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t]
z: real[4] = M h'
y = softmax(z)
""",
    "gaps plus one": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t]
z = M h' + 1
y = exp(z) / (M x1 - 3) - -z
x1 = A x
""",
    "gaps through stopgrad zoneout": """
input x: real[2]
state h: real[3]
output y: real[4]
h' = tanh(W h + U x + b)
M = h[t-3..t-1]
z = zoneout(0.3, stopgrad(M h'), M tanh(h') + 1)
y = [softmax(z) ; sum(softmax(dropout(0, z)))]
""",
    "gaps of two windows": """
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-2..t]
N = h[t-3..t-1]
y = softmax(M h' + N h' ⊙ 2)
""",
    "gaps split": """
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-2..t]
(p, q) = split(M h' + 1, 1, 2)
y = [softmax(q) ; p]
""",
    "gap of one row": """
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-1..t-1]
y = (M h' + 1) ⊙ h'
""",
    "gap of one row exp": """
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-1..t-1]
y = exp(M h') ⊙ h' + 1
""",
    "gaps in operator": """
operator f(M, q: real[n]):
    a = M q
    Mᵀ softmax(a) + W a
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-2..t]
y = f(M, h')
""",
    "gaps typed operand": """
operator f(a: real[n]) = softmax(a + 1)
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-2..t]
y = f(M h')
""",
    "window in a tuple": """
operator f((M, a), q) = Mᵀ softmax(M q) + a
input x: real[2]
state h: real[3]
output y: real[3]
h' = tanh(W h + U x + b)
M = h[t-2..t]
p = (M, h')
y = f(p, h)
""",
    "gaps to functions": """
input x: real[2]
state h: real[3]
output y: real[4]
param g: vector, constant(1)
param r: vector
h' = tanh(W h + U x + b)
M = h[t-3..t]
z = M h' + 1
y = layernorm(z, g, 0.5) + rmsnorm(z, g) + dot(z, z) + sum(z) + [maxout(2, z) ; lp(2, z, r)] + A z
""",
    "symbol window": """
input s: symbol[4]
state h: real[4]
output y: real[4]
h' = tanh(W h + U s + b)
X = s[t-3..t]
y = Xᵀ softmax(X h') + sum(X s[t-1])
""",
    "symbol window log": """
input s: symbol[4]
state h: real[4]
output y: symbol[4]
h' = tanh(W h + U s + b)
X = s[t-3..t]
(a, g) = split(softmax([X h' ; sum(h')]), 4, 1)
y = log(g * softmax(h') + Xᵀ a)
""",
    "symbol window only log": """
input s: symbol[4]
state h: real[4]
output y: symbol[4]
h' = tanh(W h + U s + b)
X = s[t-3..t]
y = log(Xᵀ softmax(X h'))
""",
    "input window at end": """
input x: real[2]
output y: real[2] at end
output z: real[2]
X = x[t-9..t]
y = Xᵀ softmax(X x)
z = Xᵀ σ(X x[t-2])
""",
    "empty softmax log": """
input s: symbol[4]
output y: real
X = s[t-2..t-1]
y = 1 + sum(softmax(X (E s)))
""",
    "windows named": """
operator look(M, q) = Mᵀ softmax(M q)
operator twice((M, N), q) = look(M, q) + look(N, look(M, q))
input x: real[3]
state h: real[3] = learned
output y: real[3]
M = h[t-2..t]
N = M
X = x[t-4..t-2]
P = (N, X)
h' = twice((X, X), x) + tanh(W h)
y = twice(P, h') + look(Q, h)
Q = h[t-3..t-1]
""",
    "window of gaps twice": """
input x: real[3]
state h: real[3]
output y: real[3]
M = x[t-2..t]
h' = tanh(W h + x)
a = softmax(M h')
(p, q) = split(a ⊙ 2 / sum(a), 1, 2)
y = [log(p) + 1 ; log(q ⊙ σ(M2 h))]
M2 = x[t-1..t]
""",
    "log forms": """
input x: real[3]
input s: symbol[3]
output y: real[3]
output z: real
X = s[t-2..t-1]
a = softmax(X x)
(p, g) = split(softmax([X x ; dot(x, x)]), 2, 1)
y = log(g * softmax(A x) + Xᵀ p + 1e-3)
z = log(sum(exp(x)) * σ(dot(x, x)) + dot(p, X s) / 2) - log(g + sum(p))
""",
    "one gap times a vector": """
input x: real[2]
output y: real[3]
param a: vector, normal(1)
M = x[t-1..t-1]
(p, q) = split((M a) * b, 1, 1)
y = A q + B p
""",
    "one gap times a vector in softmax": """
input x: real[2]
output y: real[3]
param a: vector, normal(1)
M = x[t-2..t-2]
N = x[t-1..t]
y = A softmax((M a) * (N b)) + B softmax([(M a) + b ; 1])
""",
    "two gaps of one row times a vector": """
input x: real[2]
output y: real[3]
param a: vector, normal(1)
param c: vector, real[2], normal(1)
M = x[t-2..t-2]
N = x[t-1..t-1]
y = A [(M a) * (N b) * c ; (M a) / exp(c)]
""",
}
