"""Small specs, by name, of what random ones seldom do: gaps, tuples, names, both directions."""

from __future__ import annotations

RARE: dict[str, str] = {
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
    "shared params": """
operator x ⊗ h = tanh(W h + E x + b)
model m(n = 3):
    input x: real[2]
    state h, g: real[n]
    output y: real[n]
    param E: real[n, 2]
    param b: vector
    operator x ⊕ h = tanh(W h + E x + b)
    operator x ⊖ h:
        param E: normal(0.3)
        (x ⊕ h) + E x
    h' = x ⊗ h
    g' = x ⊖ (x ⊕ g)
    y = h' + g' + E x + b
""",
    "instances": """
operator cell(x: real[m], h: real[n], act = tanh, width = n, k = 2):
    z: real[width] = act(A x + B h + b)
    for i in 1..k:
        c_i: real[n] = C_{i} z
    d_0 = 0
    for i in 1..k:
        d_i = d_{i-1} + c_i
    d_{k}
operator ⊗, ⊗₂ = cell(act = sin, width = 4)
operator wide = cell(k = 3)
model q(n = 3):
    input x: real[2]
    state h: real[n]
    output y: real[n]
    operator ⊖ = wide(act = relu)
    h' = x ⊗ (x ⊗₂ h)
    y = x ⊖ h' + wide(x, h)
""",
    "nested path": """
operator f(a) = tanh(W a + b)
operator x ⊗ h = f(h) + f(f(h)) + U x
operator x ⊕ h = x ⊗ (f(h) + 0)
input x: real[2]
state h: real[3]
output y: real[3]
h' = x ⊕ h
y = f(h') + x ⊗ h
""",
    "tuples": """
operator ((a, c), d) ⊗ (e, (f, g)):
    (p, (q, r)) = (a + e, (c, d ⊙ f))
    ((p, q), r + g)
input x: real[3]
state h, k, m: real[3] = learned
output y: real[3]
((h', k'), m') = ((x, h), k) ⊗ (tanh(W m), (h, k[t-2]))
y = m'
""",
    "numbers": """
operator f(a) = 2
operator ▷ h = 0.5
input x: real[2]
state h: real[3]
output y: real[3]
output z: real
h' = 1
y = 0
z = f(3) * 2 / 4 - 3 // 2 + 2**3
x' = A h'
""",
    "blocks": """
input s: symbol[4]
input x: real[4]
state h: real[6]
output y: real[4]
param W: blocks(3)
param E: blocks(2)
param B: blocks(2)
h' = tanh(W h + E s + B x)
y = Bᵀ h' + Eᵀ h' + stopgrad(Eᵀ h)
""",
    "blocks transposed symbol": """
input s: symbol[4]
state h: real[6]
output y: real[6]
param E: blocks(2)
h' = tanh(W h + Eᵀ s)
y = Eᵀ E h'
""",
    "diagonal": """
operator f(u, h) = u h + u
input x: real[3]
state h: real[3]
output y: real[3]
param u: diagonal
param D: diagonal
h' = tanh(u h + D x)
y = f(D, h') + u + D u D h' + W D h
""",
    "matrix operand": """
operator f(W, h) = W h + Wᵀ h
input x: real[3]
state h: real[3]
output y: real[3]
h' = tanh(W h + x)
V = W
y = f(W, h') + V x
""",
    "backward": """
input x: real[2]
state g, k: real[3] = learned
state h: real[3] = -1
output y: real[3]
M = g[t-2..t+2]
N = k[t+1..t+3]
g[t] = tanh(A g[t+1] + B k' + U x)
k[t] = tanh(C g[t+2] + Nᵀ softmax(N g[t+1]) + x2)
x2 = D x[t-1]
h' = tanh(E h[t-3] + g[t-2])
y = h' + Mᵀ softmax(M h) + k[t-1]
""",
    "window across": """
input x: real[2]
state g: real[3] = 0.4
output y: real[5] at end
g[t] = tanh(A g[t+1] + U x)
M = g[t-2..t+2]
y = M g'
""",
    "input window at end": """
input x: real[2]
output y: real[2] at end
output z: real[2]
X = x[t-9..t]
y = Xᵀ softmax(X x)
z = Xᵀ σ(X x[t-2])
""",
    "laws": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
z = tanh(V h')
p = (z, h)
h' = x ⊕ h
y = z
law x ⊕ z ≈ x[t-1] ⊕ h[t-2] weight 0.3
law f(p) ≈ z
operator f((a, c)) = A a + c
law softmax(W1 a) ≈ dropout(0.5, h') weight 2
law a + 1 ≈ W2 h
""",
    "law gap": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
h' = x ⊕ h
y = h'
law softmax(a) ≈ W2 h
""",
    "law gap one": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
h' = x ⊕ h
y = h'
law a + 1 ≈ W2 h
""",
    "law tuple": """
input x: real[2]
state h: real[3]
output y: real[3]
z = tanh(V h')
p = (z, h)
h' = x ⊕ h
y = z
law f(p) ≈ z
operator f((a, c)) = A a + c
""",
    "loss lines": """
input x: binary[3]
input s: symbol[4]
state h: real[3]
output y: real at end
X = s[t-2..t]
M = h[t-2..t]
h' = tanh(W h + U x + E s)
x' = ▷ h'
s' = ▷₂ h'
y = sum(h')
loss dot(h', V x') weight 0.5
loss -log(0.1 + dot(softmax(X (Q h')), X s'))
loss dot(E s', h[t-2]) weight 3
loss sum(M x')
""",
    "loss gap": """
input x: binary[3]
input s: symbol[4]
state h: real[3]
X = s[t-2..t]
M = h[t-2..t]
h' = tanh(W h + U x + E s)
x' = ▷ h'
s' = ▷₂ h'
loss sum(softmax(M x'))
loss sum((M x' + 1) ⊙ (X s' - 2))
""",
    "kinks": """
input x: binary[4]
state h: real[4]
output y: real[4]
output z: real[2]
param r: vector
h' = 0.5 * h + x
y = relu(A x) + abs(A x) + leaky_relu(A x) + elu(A x) + softsign(A x)
z = maxout(2, x) + lp(2, A x, r) + maxout(2, h')
""",
    "init learned deep": """
input x: real[2]
state h: real[3] = learned
output y: real[3]
h' = tanh(W h[t-4] + U x[t-3])
y = h[t-6] + h' ⊙ h[t-2]
""",
    "resting state": """
input x: real[2]
state h: real[3] = learned
state g: real[3] = 2
output y: real[3]
h' = h
g' = g[t-2] + h'
y = h + g
""",
    "parameter values": """
input x: real[2]
state h: real[3]
output y: real[3]
param a: vector, real[3]
param c: real[4]
h' = tanh(W h + U x + a) ⊙ a
(p, q) = split([a ; W2 c], 3, 3)
y = h' + p ⊙ q + dot(a, a) + σ(V c) ⊙ h + variational(0.4, a) + softmax(a)
""",
    "ascii": """
input x: real[2]
state h_1: real[3]
output y: real[3]
param U: frozen
h_1' = x (+)_1 h_1
y = |> h_1' + (h_1' [*]_2 h_1) + /\\ h_1
operator a [*]_2 b = a * b / (2 + sigmoid(a))
operator /\\ a = W^T a
""",
    "precedence": """
operator a ⊗ c = a - 2 * c
input x: real[3]
state h: real[3]
output y: real[3]
h' = tanh(W h + x)
y = -W h' ⊙ h - h' / 2 ⊙ 3 + x ⊗ h ⊗ h' + h
""",
    "stopgrad everywhere": """
input x: real[2]
state h: real[3] = learned
output y: real[3]
M = h[t-2..t]
h' = tanh(W stopgrad(h) + U x + V h[t-2])
y = Mᵀ softmax(stopgrad(M h')) + stopgrad(h') ⊙ h' + Mᵀ stopgrad(M h')
""",
    "long ragged history": """
input x: real[2]
input s: symbol[3]
state h: real[3] = -1.5
output y: real[3]
h' = 0.5 * h + tanh(U x[t-4]) ⊙ h[t-5] + E s[t-3]
y = h'
""",
    "operands by name": """
operator f(h, W) = tanh(W ⊙ h + V h)
operator g(b: real[n], c: real[n]) = b + c + b_1
input x: real[3]
state h: real[3]
output y: real[3]
h' = f(x, h)
y = g(h', x)
""",
    "loop locals": """
model m(k = 3, f = 0.25):
    input x: real[2]
    z_0 = x
    for l in 1..k:
        state h_l: real[2] = 0.1
        if l % 2 == 0 and not l == 4:
            h_l' = (1 - f) * h_l[t-l] + z_{l-1} ⊕_l h_l
        else:
            h_l' = z_{l-1} ⊗_{l+1} h_l
            operator x ⊗_{l+1} h = tanh(W_l x + V_{l+1} h)
        z_l = h_l' + W_l x
    x' = ▷_{k} z_{k}
""",
    "windows of a carried": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-4..t-2]
h' = tanh(Mᵀ softmax(M (A x)) + U x)
y = h'
""",
    "empty softmax log": """
input s: symbol[4]
output y: real
X = s[t-2..t-1]
y = 1 + sum(softmax(X (E s)))
""",
    "number operand typed": """
operator f(a: real, c: real[n]) = a * c
input x: real[3]
output y: real[3]
y = f(2, x) + f(sum(x), x)
""",
    "scalar state": """
input x: real
state h: real = 0.3
output y: real[3]
param v: vector, real[3]
h' = tanh(w h + x)
param w: diagonal
y = v ⊙ h' + h / v
""",
    "power neg": """
input x: real[2]
output y: real[2]
y = -2**2 * x + (-x) - -x * 2
""",
}
