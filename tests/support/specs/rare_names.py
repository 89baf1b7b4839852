"""Small specs of constructs rare in random ones: names, operators, tuples, parameters."""

from __future__ import annotations

RARE_NAMES: dict[str, str] = {
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
    "operands by name": """
operator f(h, W) = tanh(W ⊙ h + V h)
operator g(b: real[n], c: real[n]) = b + c + b_1
input x: real[3]
state h: real[3]
output y: real[3]
h' = f(x, h)
y = g(h', x)
""",
    "number operand typed": """
operator f(a: real, c: real[n]) = a * c
input x: real[3]
output y: real[3]
y = f(2, x) + f(sum(x), x)
""",
    "power neg": """
input x: real[2]
output y: real[2]
y = -2**2 * x + (-x) - -x * 2
""",
    "homes": """
use rhn from highway
operator g(a) = tanh(G a)
operator f(a) = g(a) + a ⊕ a
operator x ⊕ h = 2 * (W h) - x
model m(n = 3):
    input x: real[n]
    state h: real[n]
    output y: real[n]
    operator g(a) = sin(H a)
    operator a ⊖ c = g(a) + f(c)
    operator ⊗ = rhn(layers = 3, carry = -1)
    h' = (x ⊖ h) + (x ⊗ h)
    y = f(h') + g(h)
""",
    "names": """
input x₁: real[2]
state α₁₂, h: real[3]
output y_out: real[3]
param ρ: vector
α_12' = tanh(W₁ x_1 + W_2 α₁₂ + b_in ⊙ ρ)
h[t] = bias_2 + b₃ + α₁₂[t] + bx
y_out = h[t] + z[t]
z = V x_1[t]
""",
    "prefix chains": """
operator ▷ h = V h + b
operator ◁ h = tanh(h)
input x: real[3]
state h: real[3]
output y: real[3]
h' = -◁ -▷ ◁ h + x
y = ▷ ▽ - h' - - h
operator ▽ h = -h ⊙ 2
""",
    "tuple results": """
operator f(a) = (A a, sin(a))
operator (p, q) ⊗ c = (p + c, q ⊙ c)
operator g((p, q)) = p - q
input x: real[3]
state h, k: real[3]
output y: real[3]
(h', k') = f(x) ⊗ h
y = g(f(x) ⊗ k') + g((h, k[t-2]))
w = f(x)
(u, v) = w
""",
    "wide numbers": """
input x: real[3]
state h: real[3]
output y: real[3]
output z: real
param c: real[1]
param r: real[1]
param g: vector, real[3]
h' = c * h + x / c
y = layernorm(h', 1, c) + rmsnorm(x, 2) + c - g
z = softmax(c) + lp(3, x, r) + maxout(3, g) + dot(c, c) + lp(3, h, 0.5) + sum(2)
""",
    "one matrix twice": """
input x: real[3]
state h: real[3]
output y: real[3]
param W: orthogonal, frozen
h' = tanh(W h + Wᵀ x + W V Wᵀ W x)
y = Wᵀ h' + stopgrad(V h)
""",
    "blocks sized": """
operator f(a, q = 2):
    param W: blocks(q), real[6, 4], normal(0.1)
    param b: real[6], uniform(0, 1), frozen
    for i in 1..q:
        param d_i: diagonal, constant(0.5)
    if q > 1:
        z = W a + b
    else:
        z = a
    d_1 z - d_{q} (d_1 z)
operator ◁₁, ◁₂ = f
input x: real[4]
input s: symbol[4]
output y: real[6]
y = ◁₁ x + ◁₂ (▽ s)
operator ▽ s = [s]
""",
    "order": """
output y: real[2]
y = z + c
c = d ⊙ z
z = tanh(h' + d)
h' = x ⊕ h
d = A x[t-1]
state h: real[2]
input x: real[2]
operator x ⊕ h:
    r = p + q
    q = B p
    p = x - h
    r
""",
    "outer and inner": """
operator f(x, h):
    param W: frozen
    z: real[2] = W x
    z + W2 h + b
model m(n = 1):
    input x: real[2]
    state h: real[2]
    output y: real[2]
    param W: normal(0.2)
    param b: vector, real[2]
    operator k(x, b) = W x + b
    operator l(x) = W x + b + k(x, x)
    h' = f(x, h) + k(x, h)
    y = l(h') + W h + b
""",
    "symbols as operands": """
operator x ⊕ (h, p) = tanh(W h + E x + F p + Eᵀ h)
operator f(s, q) = E [s ; q ; s]
use lstm from gated
operator ⊖ = lstm
input s: symbol[3]
state h, k, c: real[3]
output y: real[3]
r = s
h' = r ⊕ (h, s[t-2])
(k', c') = s[t-1] ⊖ (k, c)
y = f(r, h') + k'
""",
    "deep library": """
use deep_lp, deep_maxout, maxout_units from units
use deep from deep
operator ⊕ = deep_lp(layers = 3, k = 2, width = 4)
operator ▷ = deep_maxout(layers = 2, width = 3)
operator ⊗ = deep(layers = 3, width = 2, shortcut = 1, act = σ)
input x: real[2]
state h, g: real[4]
h' = x ⊕ h
g' = h' ⊗ g
x' = ▷ (h' + g')
""",
}
